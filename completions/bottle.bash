# SPDX-License-Identifier: Apache-2.0
# bash completion for bottle(1)

_bottle_run_options='--file --allow --auth --name --workdir --env --pass-env --read-only --read-write
	--no-stdin --backend --agent-image --idmap --ca-key --dry-run --json --fail-on-denied --timings --quiet --help'

# Where the command begins: behind the options and an optional `--`. COMP_CWORD where there is none yet.
_bottle_command_at() {
	local i

	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			echo $((i + 1))
			return
			;;
		-q | -h | --no-stdin | --dry-run | --json | --fail-on-denied | --timings | --quiet | --help | --*=*) ;;
		-*) ((i++)) ;;
		*) break ;;
		esac
	done
	echo "$i"
}

# bash-completion's own, where it is installed.
_bottle_complete_command() {
	if declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif [ "$1" -eq "$COMP_CWORD" ]; then
		mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

_bottle() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} at

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run trust stop prune image doctor version help' -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	run)
		at=$(_bottle_command_at)
		if [ "$at" -lt "$COMP_CWORD" ] || { [ "$at" -eq "$COMP_CWORD" ] && [[ $prev == -- || $cur != -* ]]; }; then
			_bottle_complete_command "$at"
			return
		fi
		case $prev in
		-f | --file | --read-only | --read-write) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		--workdir) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
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
