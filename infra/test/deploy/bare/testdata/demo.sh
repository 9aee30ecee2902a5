#!/bin/bash
# Types `make demo` at a terminal, in the clone that it is called in; waits until both edges have a price; types Ctrl-C. It
# prints what the terminal showed, and exits as make does.
set -euo pipefail

deadline=$((SECONDS + 540))
work=$(mktemp -d)
mkfifo "$work/keys" "$work/never"
script --quiet --flush --return --command 'make demo' "$work/screen" <"$work/keys" >/dev/null &
terminal=$!
exec 3>"$work/keys"
show() { sed -e 's/\r*$//' -e 's/.*\r//' -e '/^go: downloading/d' "$work/screen"; }
has_price() { # PORT
	exec 4<>"/dev/tcp/127.0.0.1/$1" || return
	printf 'GET /api/v1/snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&4
	grep -Eo '"price":[1-9][0-9.]*.*"status":"live"' <&4
}
both_have_one() {
	local ports port
	ports=$(sed -nE 's#.*dashboard +http://127\.0\.0\.1:([0-9]+)/.*#\1#p' "$work/screen" 2>/dev/null)
	[ "$(wc -w <<<"$ports")" = 2 ] || return
	for port in $ports; do
		price[$port]=$(has_price "$port" 2>/dev/null | sed -E 's/"price":([0-9.]+).*/\1/') && [ "${price[$port]}" ] || return
	done
}

declare -A price
until both_have_one; do
	kill -0 $terminal 2>/dev/null || { show; echo "make demo has ended by itself"; exit 1; }
	[ $SECONDS -lt $deadline ] || { show; echo "no price on both edges in 9 minutes"; exit 1; }
	read -rt 0.2 <>"$work/never" || true
done
printf '\003' >&3
code=0
wait $terminal || code=$?
show
for port in "${!price[@]}"; do echo "port $port: ${price[$port]} USD"; done
echo "Ctrl-C: exit $code"
exit $code
