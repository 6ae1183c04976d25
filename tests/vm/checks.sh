# Sourced by the guest's scripts: running a command in a delegated group of its own, and counting what passed.
PASSED=0
FAILED=0
SKIPPED=0
OUT=$(mktemp -d /run/checks.XXXXXX)

pass() { echo "PASS $*"; PASSED=$((PASSED + 1)); }
skip() { echo "SKIP $*"; SKIPPED=$((SKIPPED + 1)); }
fail() {
    echo "FAIL $*"
    FAILED=$((FAILED + 1))
    [ -s "$OUT/all" ] && tail -n 60 "$OUT/all" | sed 's/^/     | /'
    # Some failures are told to nobody but the kernel's log, such as an overlay that became read-only.
    dmesg --notime --level emerg,alert,crit,err,warn | tail -n 3 | sed 's/^/     | kernel: /'
    return 0
}
note() { echo "NOTE $*"; }

# The slow machine (no hardware virtualization) gets four times as long.
seconds() { if [ "${VM_SLOW:-0}" = 1 ]; then echo $(($1 * 4)); else echo "$1"; fi; }

# The last line of every script, and its status.
verdict() {
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" = 0 ]
}

SCOPES=0
SCOPE=

# Makes the group that the next command runs in: what `systemd-run --scope -p Delegate=yes` would give.
scope_make() { # user
    SCOPES=$((SCOPES + 1))
    if [ "$1" = root ]; then
        SCOPE=/sys/fs/cgroup/system.slice/check-$SCOPES.scope
        mkdir "$SCOPE"
    else
        SCOPE=/sys/fs/cgroup/user-1000/check-$SCOPES.scope
        mkdir "$SCOPE"
        chown 1000:1000 "$SCOPE" "$SCOPE"/cgroup.{procs,threads,subtree_control}
    fi
}

# Removes it; what still runs in it is killed and named, since nothing should.
scope_remove() {
    local left=
    if grep -q 'populated 1' "$SCOPE/cgroup.events"; then
        left=$(find "$SCOPE" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r ps -o args= -p | tr '\n' ';')
        echo 1 >"$SCOPE/cgroup.kill"
        sleep 1
    fi
    find "$SCOPE" -depth -type d -exec rmdir {} \; 2>/dev/null
    [ -z "$left" ] || note "left running: $left"
}

# Runs a command as root or user in a group of its own, bounded in time. Its output is in $OUT/{stdout,stderr,all}.
run_as() { # user, seconds, command…
    local user="$1" limit="$2" status
    local ids=(--reuid 0 --regid 0 --clear-groups) home=/root data=/data/root
    shift 2
    if [ "$user" != root ]; then
        ids=(--reuid 1000 --regid 1000 --clear-groups)
        home=/home/user data=/data/user
    fi
    scope_make "$user"
    dmesg --clear
    mkdir -p "$data/tmp"
    chown --reference="$data" "$data/tmp"
    # The shell enters the group and becomes the command: nothing else is in it.
    timeout -k 5 "$limit" bash -c 'echo $$ >"$0/cgroup.procs" && exec setpriv "$@"' "$SCOPE" "${ids[@]}" \
        env -i PATH="$PATH" HOME="$home" USER="$user" LANG="$LANG" TERM=dumb TMPDIR="$data/tmp" \
        XDG_RUNTIME_DIR="$([ "$user" = root ] && echo /run || echo /run/user/1000)" \
        "$@" >"$OUT/stdout" 2>"$OUT/stderr"
    status=$?
    cat "$OUT/stdout" "$OUT/stderr" >"$OUT/all"
    scope_remove
    return $status
}
