#!/bin/bash
# Runs a script as a unit of a booted machine, and switches the machine off. The script has these functions.
set -euo pipefail
trap 'echo "failed at line $LINENO"' ERR
trap 'code=$?; [ $code = 0 ] || journalctl --no-pager -n 60 -o cat; echo "exit $code"; systemctl poweroff --force' EXIT
export DEBIAN_FRONTEND=noninteractive

until_true() { # WHAT COMMAND...
	local what=$1 deadline=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "waited a minute for $what"; return 1; }
		read -rt 0.1 <>/run/never || true
	done
	echo "ok: $what, at $SECONDS s"
}
is() { # WHAT GOT WANT
	[ "$2" = "$3" ] || { echo "$1: got $2, want $3"; return 1; }
	echo "ok: $1 ($2), at $SECONDS s"
}
property() { systemctl show --value -p "$2" "$1"; } # UNIT PROPERTY
of_process() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(property "$1" MainPID)/status"; } # UNIT FIELD
mkfifo /run/never
. /boot-script
