# Runs as a service of a real systemd: the package is installed, configured, started, starved, stopped
# and removed. Every step writes a line `NAME=VALUE` to /out/facts. /in has what it needs.
exec > /out/facts 2> /out/log
set -x

fact() { echo "$1=$2"; }
property() { systemctl show --property="$1" --value entrapool; }
wait_for() { # a command, for 20 s
    for _ in $(seq 100); do
        "$@" && return 0
        sleep 0.2
    done
    return 1
}
ask() { psql --no-psqlrc -At --host=/run/entrapool --username=anyone --command="$1" appdb; }

dpkg --install /in/entrapool.deb >&2
fact installed $?
fact enabled "$(systemctl is-enabled entrapool)"
fact running_before_it_is_configured "$(systemctl is-active entrapool)"

cp /in/entrapool.toml /etc/entrapool/entrapool.toml
install -D --mode=0600 /in/database-password /etc/credstore/database-password
install -D /in/drop-in.conf /etc/systemd/system/entrapool.service.d/test.conf
systemctl daemon-reload

systemctl start entrapool
fact started $?
fact state "$(property ActiveState)/$(property SubState)"
fact status "$(property StatusText)"
pid=$(property MainPID)
end() {
    journalctl --no-pager --unit=entrapool > /out/journal
    systemctl exit 0
    exit
}
[ "$pid" -gt 1 ] || end
fact user "$(stat --format=%U "/proc/$pid")"
fact capabilities "$(awk '/^CapEff/ {print $2}' "/proc/$pid/status")"
fact filtered "$(awk '/^Seccomp:/ {print $2}' "/proc/$pid/status")"
fact socket "$(stat --format='%a %U' /run/entrapool/.s.PGSQL.5432)"
fact answer "$(ask 'select current_user')"
fact descriptors "$(python3 -c 'import urllib.request as u
for line in u.urlopen("http://127.0.0.1:'"$(cat /in/port)"'/metrics").read().decode().splitlines():
    if line.startswith("process_max_fds "): print("known")')"

# A reload changes what holds; one that is wrong changes nothing, and says so.
printf '[log]\nlevel = "debug"\n' >> /etc/entrapool/entrapool.toml
systemctl reload entrapool
fact reloaded $?
fact level "$(entrapool ctl log-level)"
cp /etc/entrapool/entrapool.toml /tmp/good.toml
echo nonsense >> /etc/entrapool/entrapool.toml
systemctl reload entrapool
fact wrong_reload $?
fact after_a_wrong_reload "$(property ActiveState) $(entrapool ctl log-level)"
cp /tmp/good.toml /etc/entrapool/entrapool.toml

# An event loop that stands still is noticed, and the service comes back.
kill -STOP "$pid"
restarted() { [ "$(property NRestarts)" = 1 ] && [ "$(property ActiveState)" = active ]; }
wait_for restarted
fact came_back $?
fact answer_again "$(ask 'select 40 + 2')"

# A transaction in flight ends well; then the service does.
ask "begin; select pg_sleep(1); commit; select 'whole'" > /out/transaction &
sleep 0.3
systemctl stop entrapool
wait %1
fact transaction "$(tail -n 1 /out/transaction)"
fact result "$(property Result)/$(property ExecMainStatus)"

# What does not get better is not tried again. And it is our own code that tells, not systemd's for
# a credential that is not there.
rm /etc/credstore/database-password
echo nonsense >> /etc/entrapool/entrapool.toml
systemctl start entrapool
fact refused $?
sleep 3
fact after_a_bad_configuration "$(property ActiveState)/$(property ExecMainStatus)"

dpkg --purge entrapool >&2
fact purged $?
fact configuration_left "$(ls /etc/entrapool/entrapool.toml 2> /dev/null)"
fact end here
end
