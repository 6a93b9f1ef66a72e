# SPDX-License-Identifier: Apache-2.0
# fish completion for bottle(1)

set -l commands run trust stop prune image doctor version help
complete -c bottle -f
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a run -d 'run a command in a bottle'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a trust -d 'accept a manifest as it is'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a stop -d 'end the bottles of a name'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a prune -d 'remove what killed bottles left'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a image -d 'proxy images'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'what this host can do'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a version -d 'print the version'
complete -c bottle -n "not __fish_seen_subcommand_from $commands" -a help -d 'print help'

set -l run '__fish_seen_subcommand_from run'
complete -c bottle -n $run -s f -l file -r -F -d 'read this manifest'
complete -c bottle -n $run -l allow -x -d 'add a route: HOST[:PORT][/PATH]'
complete -c bottle -n $run -l auth -x -d 'HOST=SCHEME:ENV_NAME'
complete -c bottle -n $run -l name -x -d 'name of the bottle'
complete -c bottle -n $run -l workdir -x -a '(__fish_complete_directories)' -d 'the work folder'
complete -c bottle -n $run -l env -x -d 'set a variable inside'
complete -c bottle -n $run -l pass-env -x -a '(set -n)' -d 'pass a variable on'
complete -c bottle -n $run -l read-only -r -F -d 'show a path, read-only'
complete -c bottle -n $run -l read-write -r -F -d 'show a path, read-write'
complete -c bottle -n $run -s n -l no-stdin -d 'stdin is /dev/null'
complete -c bottle -n $run -l backend -x -a 'auto namespaces docker' -d 'what the bottle is made with'
complete -c bottle -n $run -l agent-image -x -d 'with Docker: the image of the command'
complete -c bottle -n $run -l idmap -x -a 'auto single subid' -d 'how user ids are mapped'
complete -c bottle -n $run -l ca-key -x -a 'p256 rsa2048' -d 'key type of the CA'
complete -c bottle -n $run -l dry-run -d 'print the plan, change nothing'
complete -c bottle -n $run -l json -d 'with --dry-run: as JSON'
complete -c bottle -n $run -l fail-on-denied -d 'exit 123 when a request was refused'
complete -c bottle -n $run -l timings -d 'print the times of the phases'
complete -c bottle -n $run -s q -l quiet -d 'no warnings, no summary'
complete -c bottle -n $run -s h -l help -d 'print the options'
complete -c bottle -n '__fish_seen_subcommand_from trust' -F
complete -c bottle -n '__fish_seen_subcommand_from image' -a 'import list remove'
complete -c bottle -n '__fish_seen_subcommand_from image' -l tag -x -d 'name of the image'
complete -c bottle -n '__fish_seen_subcommand_from image doctor' -l json -d 'as JSON'
complete -c bottle -n '__fish_seen_subcommand_from image' -F
