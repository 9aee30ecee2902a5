#!/bin/bash
# Runs as a unit in the container of boot_test.go, on a real systemd. What it prints is the test's log.
set -euo pipefail
trap 'echo "failed at line $LINENO"' ERR
trap 'code=$?; [ $code = 0 ] || { journalctl --no-pager -n 60 -o cat; }; echo "exit $code"; systemctl poweroff --force' EXIT

until_true() { # WHAT COMMAND...
	local what=$1 deadline=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "waited a minute for $what"; return 1; }
		read -rt 0.1 <>/run/never || true
	done
	echo "ok: $what"
}
is() { # WHAT GOT WANT
	[ "$2" = "$3" ] || { echo "$1: $2, want $3"; return 1; }
	echo "ok: $1 ($2)"
}
property() { systemctl show --value -p "$2" "$1"; }
of_process() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$(property "$1" MainPID)/status"; }
ready() { curl -fsS "http://127.0.0.1:$1/readyz"; }
logged() { journalctl --no-pager -o cat -u "$1" | grep -e "$2"; }
measured() { curl -fsS 127.0.0.1:18081/metrics | grep '^process_start_time_seconds'; }
mkfifo /run/never

systemctl start redis-test replay-test
for unit in sightglass-ingester sightglass-edge@8081 sightglass-edge@8082; do
	systemctl start $unit # returns when it has said READY=1
	is "$unit" "$(systemctl is-active $unit)" active
	uid=$(of_process $unit Uid | cut -f1)
	is "a user of its own, of systemd's range for DynamicUser" "$((uid >= 61184 && uid <= 65519))" 1
	is "capabilities" "$(of_process $unit CapEff)$(of_process $unit CapBnd)" 00000000000000000000000000000000
	is "no new privileges, filtered calls" "$(of_process $unit NoNewPrivs)$(of_process $unit Seccomp)" 12
	is "MemoryMax" "$(property $unit MemoryMax)" 2147483648
done
until_true "a price through all of it" ready 8081
until_true "and the other edge" ready 8082
read -r _ _ _ _ hard _ < <(grep '^Max open files' /proc/1/limits)
files=$((hard < 65536 ? hard : 65536)) # a systemd that may not raise its own limit gives what it has
is "the limit of open files is the unit's" "$(journalctl --no-pager -o cat -u sightglass-edge@8081 | grep -o 'files=[0-9]*' | head -n 1)" files=$files
until_true "the edge's metrics, on the port with a 1" measured
touch /etc/mark # this one can
if nsenter -t "$(property sightglass-edge@8081 MainPID)" -m touch /etc/mark 2>/dev/null; then echo "an edge can write to /etc"; false; fi
echo "ok: an edge cannot write to /etc"

# The node's cookie: with the group, and without.
mkdir -p /var/lib/bitcoind && echo __cookie__:secret >/var/lib/bitcoind/.cookie
chgrp bitcoin /var/lib/bitcoind/.cookie && chmod 0640 /var/lib/bitcoind/.cookie
mkdir -p /run/systemd/system/sightglass-ingester.service.d
cat >/run/systemd/system/sightglass-ingester.service.d/rpc.conf <<-END
	[Service]
	Environment=SIGHTGLASS_RPC=http://127.0.0.1:9 SIGHTGLASS_RPC_COOKIE=/var/lib/bitcoind/.cookie
	WatchdogSec=3s
END
systemctl daemon-reload && systemctl restart sightglass-ingester
until_true "the cookie is not for everyone" logged sightglass-ingester "permission denied"
journalctl --rotate -q && journalctl --vacuum-time=1s -q
echo "SupplementaryGroups=bitcoin" >>/run/systemd/system/sightglass-ingester.service.d/rpc.conf
systemctl daemon-reload && systemctl restart sightglass-ingester
until_true "with the group it asks the node" logged sightglass-ingester "connection refused"

# What hangs or dies comes back.
kill -STOP "$(property sightglass-ingester MainPID)"
restarted() { [ "$(property "$1" NRestarts)" -ge 1 ] && systemctl is-active -q "$1"; }
until_true "the watchdog ends an ingester that hangs" restarted sightglass-ingester
kill -KILL "$(property sightglass-edge@8081 MainPID)"
until_true "an edge that was killed is started again" restarted sightglass-edge@8081
until_true "with a price" ready 8081

# The rolling restart of docs/systemd.md.
for port in 8081 8082; do
	systemctl restart sightglass-edge@$port
	curl --silent --show-error --fail --output /dev/null --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:$port/readyz
	is "restarted, and left with" "$(property sightglass-edge@$port Result)" success
done
systemctl stop sightglass-edge@8082
is "drained, and left with" "$(property sightglass-edge@8082 Result) $(property sightglass-edge@8082 ExecMainStatus)" "success 0"
until_true "it drained" logged sightglass-edge@8082 draining

# Settings that are wrong.
echo "SIGHTGLASS_REDIS=localhost" >/etc/sightglass/edge-8082.env
if systemctl start sightglass-edge@8082 2>/dev/null; then echo "it started with a wrong URL"; false; fi
until_true "a wrong setting is named in the journal" logged sightglass-edge@8082 'error: .*redis.*want redis://'
