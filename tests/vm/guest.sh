#!/bin/bash
# What is proved in the virtual machine: the kernel's gifts, the program from the outside, and the test executables —
# each as root and as an ordinary user with a delegated subtree.
. /vm/checks.sh
. /vm/serve.sh

# One run of the program: its status must be CODE and its output must match PATTERN (empty: any).
expect() { # name, user, seconds, code, pattern, command…
    local name="$1" user="$2" limit code="$4" pattern="$5" status
    limit=$(seconds "$3")
    shift 5
    run_as "$user" "$limit" "$@"
    status=$?
    if [ $status != "$code" ]; then
        echo "status $status instead of $code" >>"$OUT/all"
        fail "$user: $name"
    elif [ -n "$pattern" ] && ! grep -qiE -e "$pattern" "$OUT/all"; then
        echo "no line matches: $pattern" >>"$OUT/all"
        fail "$user: $name"
    else
        pass "$user: $name"
    fi
}

# An ordinary user has no storage pool and so no disk limit, and must say that this is accepted.
run_options() { [ "$1" = root ] || echo --allow-unenforced; }

json_check() { # user, data directory
    # shellcheck disable=SC2046
    run_as "$1" "$(seconds 30)" /vm/tenure --data-dir "$2" run $(run_options "$1") --json -- /bin/sh -c 'exit 7'
    local status=$?
    if [ $status = 7 ] && python3 -c 'import json, sys; json.load(sys.stdin)' <"$OUT/stdout" 2>>"$OUT/all"; then
        pass "$1: run --json prints one JSON document and passes the code on"
    else
        echo "status $status instead of 7" >>"$OUT/all"
        fail "$1: run --json prints one JSON document and passes the code on"
    fi
}

FORKS='
import os, time
n = 0
try:
    while n < 500:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError:
    pass
print("bounded" if 3 < n < 32 else "not bounded", n)
'
HOG='b = b"x" * (512 << 20); print("survived")'
FILL='dd if=/dev/zero of=fill bs=1M count=256; s=$(stat -c %s fill || echo 0); [ "$s" -gt 8000000 ] && [ "$s" -le 67108864 ] && echo bounded'

smoke() { # user, data directory
    local tenure=(/vm/tenure --data-dir "$2") run
    # shellcheck disable=SC2207
    run=("${tenure[@]}" run $(run_options "$1"))
    expect "doctor names cgroup v2" "$1" 30 0 'control groups version 2|cgroup.*v2' "${tenure[@]}" doctor
    cp "$OUT/all" "$OUT/doctor"
    expect "run passes success on" "$1" 30 0 '' "${run[@]}" -- /bin/true
    expect "run passes the code on" "$1" 30 7 '' "${run[@]}" -- /bin/sh -c 'exit 7'
    expect "run passes output on" "$1" 30 0 '^hello$' "${run[@]}" -- /bin/echo hello
    expect "run can write where it starts" "$1" 30 0 '^written$' "${run[@]}" -- \
        /bin/sh -c 'echo written >file && cat file'
    json_check "$@"
    expect "a memory hog ends with 137, out of memory" "$1" 60 137 'out of memory' \
        "${run[@]}" --memory 64M -- python3 -c "$HOG"
    expect "forks are bounded by --pids" "$1" 60 0 '^bounded' "${run[@]}" --pids 32 -- python3 -c "$FORKS"
    disk_check "$@"
    bomb "$@"
    left_over "$@"
}

disk_check() { # user, data directory; after doctor has spoken
    local tenure=(/vm/tenure --data-dir "$2")
    if grep -q 'disk limit is not enforced' "$OUT/doctor"; then
        expect "a disk limit that cannot be enforced is refused" "$1" 30 125 'not enforce: *.*disk' \
            "${tenure[@]}" run --disk 64M -- /bin/true
        [ "$1" = root ] && fail "$1: the disk limit can be enforced" ||
            skip "$1: a disk filler is bounded by --disk: doctor says that it is not enforced here"
        return
    fi
    expect "a disk filler is bounded by --disk" "$1" 60 0 '^bounded' "${tenure[@]}" run --disk 64M -- /bin/sh -c "$FILL"
}

# A real bomb: the machine must be free again afterwards.
bomb() { # user, data directory
    # shellcheck disable=SC2046
    run_as "$1" "$(seconds 60)" /vm/tenure --data-dir "$2" run $(run_options "$1") --pids 32 --timeout 5s -- \
        /bin/sh -c 'f() { f | f & }; f; sleep 60'
    local status=$? processes
    processes=$(ls -d /proc/[0-9]* | wc -l)
    if [ $status = 124 ] && [ "$processes" -lt 150 ]; then
        pass "$1: a fork bomb ends at its timeout"
    else
        echo "status $status, $processes processes afterwards" >>"$OUT/all"
        fail "$1: a fork bomb ends at its timeout"
    fi
}

# From the kernel's own tables, not from the program's.
left_over() { # user, data directory
    {
        grep -F " $2" /proc/mounts | sed 's/^/mount: /'
        losetup -a | sed 's/^/loop device: /'
        find /sys/fs/cgroup -type d -iname '*tenure*' | sed 's/^/cgroup: /'
        ps -eo pid=,args= | awk '$2 ~ /tenure/ { print "process: " $0 }'
    } >"$OUT/all"
    if [ -s "$OUT/all" ]; then fail "$1: nothing is left over"; else pass "$1: nothing is left over"; fi
}

# A server that is killed, alone and with its keeper: what it made goes on, and the next start takes it over.
killed_server() { # user, data directory
    local id paused exec before
    server_start "$1" "$2" || return
    id=$(session) && paused=$(session)
    exec=$(ask exec --background "$id" -- sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done')
    ask exec "$paused" -- sh -c 'echo kept >kept' >/dev/null
    ask session pause "$paused" >/dev/null
    check "a paused session is frozen" frozen "$(field session get "$paused" -- environment state)"
    for killed in server "server and keeper"; do
        before=$(ask execs output "$id" "$exec" | wc -l)
        server_kill
        [ "$killed" = server ] || kill_keeper "$2"
        sleep "$(seconds 1)"
        server_start "$1" "$2" || return
        until_field ready session get "$id" -- environment state
        check "$killed killed: the session goes on" "running ready 1" "$(field session get "$id" -- state) $(field session get "$id" -- environment state) $(field session get "$id" -- environment generation)"
        check "$killed killed: its program went on" more "$([ "$(ask execs output "$id" "$exec" | wc -l)" -gt $((before + 2)) ] && echo more)"
        check "$killed killed: no line is missing or there twice" "" "$(ask execs output "$id" "$exec" | awk '$1 != NR' | head -3)"
        check "$killed killed: what is paused stays frozen" frozen "$(field session get "$paused" -- environment state)"
    done
    ask session resume "$paused" >/dev/null
    check "… and goes on" kept "$(ask exec "$paused" -- cat kept)"
    audit_check
    ask session terminate "$id" >/dev/null
    ask session terminate "$paused" >/dev/null
    server_stop
    left_over "$1" "$2"
}

# The keeper of a data directory: whoever holds the lock of its instance, and is no agent's.
kill_keeper() { # data directory
    local pid
    for pid in $(pgrep -x tenure-keeper); do
        if find "/proc/$pid/fd" -lname "$1/instances/*.lock" 2>/dev/null | grep -q .; then kill -9 "$pid"; fi
    done
}

# The program may still lack a command that these checks are about.
smoke_all() {
    if ! /vm/tenure run --help 2>/dev/null | grep -q -e --pids; then
        skip "the program from the outside: this tenure has no command run with limits"
        return
    fi
    smoke root /data/root/tenure
    smoke root /data-btrfs/root/tenure
    smoke user /data/user/tenure
    killed_server root /data/root/served
    killed_server root /data-btrfs/root/served
    killed_server user /data/user/served
}

# Runs one test executable; each of its tests counts. A test that says "skipped: …" counts as skipped.
test_run() { # user, name, executable, directory
    local status passed failed skipped ignored
    run_as "$1" "$(seconds 240)" env -C "$4" CARGO_MANIFEST_DIR="$4" TENURE_TEST_VM=1 "$3" --show-output --test-threads 2
    status=$?
    read -r passed failed ignored < <(sed -n \
        's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$OUT/stdout")
    skipped=$(grep -c '^skipped:' "$OUT/all")
    grep '^skipped:' "$OUT/all" | sort | uniq -c | sed "s|^ *\([0-9]*\) skipped:|SKIP $1: $2: \1 ×|"
    if [ $status = 0 ] && [ -n "$passed" ]; then
        echo "PASS $1: $2: $passed passed, $ignored ignored, of those passed $skipped skipped themselves"
    elif [ $status = 0 ] && [ "$skipped" -gt 0 ]; then
        : # All of it, before the first test.
    else
        [ -n "$passed" ] && grep -E '^test .* FAILED' "$OUT/stdout"
        tail -n 60 "$OUT/all" | sed 's/^/     | /'
        echo "FAIL $1: $2: status $status"
        [ "${failed:-0}" -gt 0 ] || failed=1
    fi
    PASSED=$((PASSED + ${passed:-0} - skipped))
    FAILED=$((FAILED + ${failed:-0}))
    SKIPPED=$((SKIPPED + skipped + ${ignored:-0}))
}

tests_all() {
    local name executable directory
    while IFS=$'\t' read -r name executable directory; do
        [[ "$name" == *"$VM_FILTER"* ]] || continue
        test_run root "$name" "$executable" "$directory" </dev/null
        test_run user "$name" "$executable" "$directory" </dev/null
    done </vm/tests
}

if [ -z "$VM_FILTER" ]; then
    . /vm/probe.sh
    smoke_all
fi
tests_all
verdict
