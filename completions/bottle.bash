# SPDX-License-Identifier: Apache-2.0
# bash completion for bottle(1)

_bottle_run_options='--file --allow --auth --name --workdir --env --pass-env --read-only --read-write
	--no-stdin --backend --agent-image --idmap --ca-key --dry-run --json --fail-on-denied --timings --quiet --help'

_bottle() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word i

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run trust stop prune image doctor version help' -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	run)
		# Past the options the words are the command's own.
		for ((i = 2; i < COMP_CWORD; i++)); do
			word=${COMP_WORDS[i]}
			case $word in
			--)
				_command_offset $((i + 1)) 2>/dev/null
				return
				;;
			esac
		done
		case $prev in
		-f | --file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		--workdir | --read-only | --read-write) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
		--backend) mapfile -t COMPREPLY < <(compgen -W 'auto namespaces docker' -- "$cur") ;;
		--idmap) mapfile -t COMPREPLY < <(compgen -W 'auto single subid' -- "$cur") ;;
		--ca-key) mapfile -t COMPREPLY < <(compgen -W 'p256 rsa2048' -- "$cur") ;;
		--pass-env) mapfile -t COMPREPLY < <(compgen -e -- "$cur") ;;
		*) mapfile -t COMPREPLY < <(compgen -W "$_bottle_run_options" -- "$cur") ;;
		esac
		;;
	trust) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	image)
		if [ "$COMP_CWORD" -eq 2 ]; then
			mapfile -t COMPREPLY < <(compgen -W 'import list remove' -- "$cur")
		elif [ "${COMP_WORDS[2]}" = import ]; then
			mapfile -t COMPREPLY < <(compgen -f -W '--tag' -- "$cur")
		elif [ "${COMP_WORDS[2]}" = list ]; then
			mapfile -t COMPREPLY < <(compgen -W '--json' -- "$cur")
		fi
		;;
	doctor) mapfile -t COMPREPLY < <(compgen -W '--json' -- "$cur") ;;
	help) mapfile -t COMPREPLY < <(compgen -W 'run trust stop prune image doctor version' -- "$cur") ;;
	esac
}

complete -o filenames -F _bottle bottle
