# The package's life on a Debian machine, with the functions of machine.Boot. /srv has the packages first.deb and
# second.deb, of the newer version $SECOND, and node.service, which serves RPC and ZMQ as a node does. $REDIS is 1 if
# redis-server is installed, else 0.
# shellcheck shell=bash
data=/var/lib/sightglass settings=/etc/sightglass/sightglass.env
install_package() { # NAME [OPTION...]
	apt-get install -y -qq --no-install-recommends "${@:2}" "/srv/$1.deb" >/root/apt.log 2>&1 || { cat /root/apt.log; return 1; }
}
modes() { stat -c '%U:%G %a' "$@"; }
logged() { journalctl --no-pager -o cat -u sightglass | grep -e "$1"; }
redis_servers() { grep -lx redis-server /proc/[0-9]*/comm 2>/dev/null | wc -l; }
pid() { property sightglass MainPID; }
runs_as_new() { systemctl is-active -q sightglass && [ "$(pid)" != "$1" ]; } # OLD_PID
left_over() {
	find /etc/systemd /usr/lib/systemd /usr/lib/sysusers.d /var/lib/systemd/deb-systemd-helper-* -name '*sightglass*' 2>/dev/null
}
# What a user must not lose when the program is killed.
get() { sightglass health --url "http://127.0.0.1:8080$1"; }
entries() { get /api/v1/history | grep '\],\['; }
first_entry() { get /api/v1/history | sed 's/.*"points":\[\[\([0-9]*\),.*/\1/'; }
saved() { test -s $data/keys.json.gz || grep -q sightglass:history $data/appendonlydir/*.incr.aof; }
historyKept() {
	local old began
	until_true "the history has two entries" entries
	until_true "it is saved" saved
	began=$(first_entry)
	old=$(pid)
	kill -KILL "$old"
	until_true "a killed program is started again" runs_as_new "$old"
	until_true "it is ready" sightglass health
	is "the history's first entry" "$(first_entry)" "$began"
	is "redis-server processes" "$(redis_servers)" "$REDIS"
}

# Without a node: the installation succeeds and says what to do.
is "libzmq5 before" "$(dpkg-query -W -f='${db:Status-Status}' libzmq5 2>/dev/null || true)" ""
install_package first
is "libzmq5 after" "$(dpkg-query -W -f='${db:Status-Status}' libzmq5)" installed
is "the service" "$(systemctl is-enabled sightglass)" enabled
is "a hint" "$(grep -c 'adduser sightglass bitcoin' /root/apt.log)" 1
is "the data directory" "$(modes $data)" "sightglass:sightglass 700"
is "the settings" "$(modes $settings)" "root:root 600"
is "changed files" "$(dpkg --verify sightglass)" ""
until_true "the journal says why it does not run" logged '^sightglass: .*node'
systemctl stop sightglass
is "one sentence each time" "$(logged '^sightglass: ' | wc -l)" "$(logged 'Main process exited' | wc -l)"

# With a node, whose cookie its user may read.
cp /srv/node.service /run/systemd/system && systemctl daemon-reload && systemctl start node
groupadd --system bitcoin && install -d /var/lib/bitcoind && echo __cookie__:secret >/var/lib/bitcoind/.cookie
chgrp bitcoin /var/lib/bitcoind/.cookie && chmod 0640 /var/lib/bitcoind/.cookie
adduser --quiet sightglass bitcoin
systemctl restart sightglass
is "with a node" "$(systemctl is-active sightglass)" active
until_true "it is ready" sightglass health
is "its user" "$(id -nu "$(of_process sightglass Uid | cut -f1)")" sightglass
is "capabilities" "$(of_process sightglass CapEff)$(of_process sightglass CapBnd)" 00000000000000000000000000000000
is "no new privileges, filtered calls" "$(of_process sightglass NoNewPrivs)$(of_process sightglass Seccomp)" 12
is "MemoryDenyWriteExecute" "$(property sightglass MemoryDenyWriteExecute)" yes
touch /etc/mark # this script can
if nsenter -t "$(pid)" -m touch /etc/mark 2>/dev/null; then echo "sightglass can write to /etc"; false; fi
is "files of others" "$(find $data -mindepth 1 ! -user sightglass)" ""
is "redis-server processes" "$(redis_servers)" "$REDIS"
historyKept

# An upgrade restarts it and keeps data and settings.
echo "# mine" >>$settings && echo mine >$data/mine && chown sightglass: $data/mine
old=$(pid)
install_package second
is "the version" "$(sightglass version | cut -d' ' -f2)" "$SECOND"
is "after the upgrade" "$(systemctl is-active sightglass)" active
is "the old process" "$([ "$(pid)" != "$old" ] || echo runs)" ""
is "the settings" "$(tail -n 1 $settings)" "# mine"
is "the data" "$(cat $data/mine)" mine
until_true "it is ready" sightglass health

# An administrator's decisions stay in force.
systemctl disable -q --now sightglass
is "stopped with" "$(property sightglass Result) $(property sightglass ExecMainStatus)" "success 0"
is "redis-server processes" "$(redis_servers)" 0
install_package first --allow-downgrades
is "still" "$(systemctl is-enabled sightglass || true) $(systemctl is-active sightglass || true)" "disabled inactive"
systemctl enable -q --now sightglass

# A removal keeps data and settings; the next installation starts it again.
apt-get remove -y -qq sightglass >/dev/null 2>&1
is "removed" "$(systemctl is-active sightglass || true)" inactive
is "programs and units left" "$(ls /usr/bin/sightglass /usr/lib/systemd/system/sightglass.service 2>/dev/null || true)" ""
is "the settings" "$(tail -n 1 $settings)" "# mine"
is "the data" "$(cat $data/mine)" mine
install_package second
is "installed again" "$(systemctl is-active sightglass)" active
is "the data" "$(cat $data/mine)" mine

# A purge deletes all, except what other programs have.
touch /etc/sightglass/edge.env
apt-get purge -y -qq sightglass >/dev/null 2>&1
is "settings left" "$(ls /etc/sightglass)" edge.env
is "data left" "$(ls -d $data 2>/dev/null || true)" ""
is "user left" "$(getent passwd sightglass || true)$(getent group sightglass || true)" ""
is "units left" "$(left_over)" ""
