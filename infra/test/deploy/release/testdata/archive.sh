# What a user of an archive types, as a login shell runs it. /srv has the archive release.tar.gz and a recording, node.jsonl.
# shellcheck shell=bash
set -eu
until_true() { # DESCRIPTION COMMAND...
	local i
	for ((i = 0; i < 600; i++)); do
		if "${@:2}" >/dev/null 2>&1; then return; fi
		read -rt 0.1 <>~/never || true
	done
	echo "waited a minute until $1"
	tail -n 50 ./*.log
	return 1
}
get() { bin/sightglass health --url "http://127.0.0.1:8080$1"; }
live() { get /api/v1/snapshot | grep -q '"price":5[23]'; }
entries() { get /api/v1/history | grep -q '\],\['; }
first() { get /api/v1/history | sed 's/.*"points":\[\[\([0-9]*\),.*/\1/'; }

mkfifo ~/never
tar -xzf /srv/release.tar.gz
cd sightglass-*
bin/sightglass version
mkdir ~/.bitcoin
echo __cookie__:secret >~/.bitcoin/.cookie
bin/sightglass replay --rpc-listen 127.0.0.1:8332 /srv/node.jsonl >replay.log 2>&1 &

bin/sightglass run >run.log 2>&1 &
pid=$!
until_true "there is a price" live
until_true "the history has two entries" entries
until_true "it is saved" test -s ~/.local/state/sightglass/keys.json.gz
began=$(first)
kill -KILL "$pid"
wait "$pid" || true

bin/sightglass run >again.log 2>&1 &
pid=$!
until_true "there is a price again" live
[ "$(first)" = "$began" ] || { echo "got a history that begins at $(first), want $began"; exit 1; }
kill "$pid"
wait "$pid"
cat run.log

bin/sightglass demo >demo.log 2>&1 &
pid=$!
until_true "the demo has a price" live
kill "$pid"
wait "$pid"
