#!/bin/bash
# Proves what must hold across a reboot of the host. The first start (VM_BOOT=1) leaves sessions of a server at work, the second (VM_BOOT=2) finds them: in
# the next life of their environments with their files, or lost with the proof. With `run.sh --reboot=cut` the first start ends like a power cut: nothing is
# stopped, synced or unmounted.
. /vm/checks.sh
. /vm/serve.sh

# What each of them had done. Only what was synced must be there after a power cut; a young one may be gone as a whole, as any young file may.
before() { # user
    local dir=/data/$1/reboot worked paused late young printed
    rm -rf "$dir"
    server_start "$1" "$dir" || return
    worked=$(session) && paused=$(session) && late=$(session)
    ask exec "$worked" -- sh -c 'echo synced >kept && mkdir dir && ln -s ../kept dir/link && sync kept dir' >/dev/null
    printed=$(ask exec --background "$worked" -- sh -c 'echo printed; exec sleep 100000')
    ask exec "$paused" -- sh -c 'echo synced >kept && sync kept' >/dev/null
    ask session pause "$paused" >/dev/null
    check "a session is paused" frozen "$(field session get "$paused" -- environment state)"
    check "a program runs" "started" "$(until_field started execs get "$worked" "$printed" -- state; field execs get "$worked" "$printed" -- state)"
    ask exec "$late" -- sh -c 'echo late >kept' >/dev/null
    young=$(session)
    echo "$worked $paused $late $young $printed" >"/data/$1.sessions"
    cp /proc/sys/kernel/random/boot_id "/data/$1.boot"
    sync "/data/$1.sessions" "/data/$1.boot"
    # It goes on until the machine does not.
    SERVER_SCOPE= SERVER=
}

# One that must be there, in its next life.
lives() { # session, state of its environment
    until_field "$2" session get "$1" -- environment state
    check "a session is made again ($2)" "2 $2" "$(field session get "$1" -- environment generation) $(field session get "$1" -- environment state)"
}

# One that a power cut may have taken: it lives in its next life, or it is lost, and the proof is in the audit.
lives_or_lost() { # name, session, must live
    local tries=0 state ended
    while :; do
        state=$(field session get "$2" -- environment state) ended=$(field session get "$2" -- termination_reason)
        [ "$state" = ready ] || [ -n "$ended" ] && break
        tries=$((tries + 1))
        [ $tries -lt "$(seconds 30)" ] || break
        sleep 0.5
    done
    if [ "$state" = ready ]; then
        check "$1: it lives again" 2 "$(field session get "$2" -- environment generation)"
        note "$SERVER_USER: $1: its file holds: $(ask exec "$2" -- sh -c 'cat kept 2>/dev/null')"
    elif [ "$3" = 0 ] && [ "$ended" = environment_lost ] && ask --json session audit "$2" | grep -qE 'booted since|nothing of it is there'; then
        pass "$SERVER_USER: $1: it is lost, with the proof"
        note "$SERVER_USER: $1: $(ask --json session audit "$2" | grep -oE '"evidence": ?"[^"]*"' | tail -1)"
    else
        fail "$SERVER_USER: $1: it lives again or is lost with the proof (state $state, ended for $ended)"
    fi
}

after() { # user
    local dir=/data/$1/reboot worked paused late young printed cut
    cut=$([ -e /data/cut ] && echo 1 || echo 0)
    if cmp -s "/data/$1.boot" /proc/sys/kernel/random/boot_id; then fail "$1: the machine has booted"; fi
    read -r worked paused late young printed <"/data/$1.sessions"
    server_start "$1" "$dir" || return
    lives "$worked" ready
    check "what was synced is there" synced "$(ask exec "$worked" -- cat dir/link)"
    # A clean end signals every process, and the server may still see what that did to it.
    check "how a program ended is unknown, or was seen" yes "$(case $cut$(field execs get "$worked" "$printed" -- state) in ?unknown | 0killed) echo yes ;; esac)"
    ask --json session audit "$worked" >/dev/null
    check "both boots are in the audit" 1 "$(grep -c "$(cat "/data/$1.boot") then, $(cat /proc/sys/kernel/random/boot_id) now" "$OUT/stdout" | sed 's/^[2-9].*/1/')"
    check "what is paused stays paused" paused "$(field session get "$paused" -- state)"
    lives "$paused" frozen
    ask session resume "$paused" >/dev/null
    check "… and goes on over its files" synced "$(ask exec "$paused" -- cat kept)"
    lives_or_lost "one that synced nothing" "$late" $((1 - cut))
    [ $cut = 1 ] || check "what was not synced is there after a clean end" late "$(ask exec "$late" -- cat kept)"
    lives_or_lost "one that was made last" "$young" $((1 - cut))
    audit_check
    for id in "$worked" "$paused" "$late" "$young"; do ask session terminate "$id" >/dev/null; done
    server_stop
    left=$(find /sys/fs/cgroup -type d -iname '*tenure*'; losetup -a; ps -eo args= | grep '^tenure' || true)
    check "nothing is left over" "" "$left"
    tail -n 3 "$OUT/serve.err" | sed 's/^/     | server: /'
}

if [ "$VM_BOOT" = 1 ]; then
    [ "${VM_CUT:-0}" = 1 ] && touch /data/cut && sync /data/cut /data
    before root
    before user
else
    after root
    after user
fi
verdict
