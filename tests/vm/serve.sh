# Sourced after checks.sh: a server of root's or of the ordinary user's, in a delegated group that stays, and the command that asks it.
#
#   server_start USER DIR    starts it and waits until it answers
#   ask WORDS…               what `tenure WORDS…` answers, on stdout and in $OUT/all; its status
#   server_kill              ends it with SIGKILL; what it made goes on
#   server_stop              ends it with SIGTERM
SERVER=
SERVER_USER=
SERVER_DIR=
SERVER_URL=
SERVER_SCOPE=

as_user() { # user, command…: becomes the command
    local ids=(--reuid 0 --regid 0 --clear-groups) home=/root user="$1"
    shift
    [ "$user" = root ] || { ids=(--reuid 1000 --regid 1000 --clear-groups) home=/home/user; }
    exec setpriv "${ids[@]}" env -i PATH="$PATH" HOME="$home" USER="$user" LANG="$LANG" TERM=dumb \
        TENURE_DATA_DIR="$SERVER_DIR" ${SERVER_URL:+TENURE_URL="$SERVER_URL"} "$@"
}

server_start() { # user, data directory
    local tries=0
    SERVER_USER=$1 SERVER_DIR=$2 SERVER_URL=
    if [ -z "$SERVER_SCOPE" ]; then
        scope_make "$1"
        SERVER_SCOPE=$SCOPE
    fi
    : >"$OUT/serve.out"
    (
        echo $BASHPID >"$SERVER_SCOPE/cgroup.procs"
        as_user "$SERVER_USER" setsid /vm/tenure serve --listen 127.0.0.1:0 --set pool.ready=0
    ) >"$OUT/serve.out" 2>>"$OUT/serve.err" </dev/null &
    SERVER=$!
    while ! grep -q http:// "$OUT/serve.out"; do
        tries=$((tries + 1))
        if [ $tries -gt "$(seconds 300)" ] || ! kill -0 $SERVER 2>/dev/null; then
            cat "$OUT/serve.out" "$OUT/serve.err" >"$OUT/all"
            fail "$1: the server starts"
            return 1
        fi
        sleep 0.2
    done
    SERVER_URL=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' "$OUT/serve.out")
}

ask() {
    local status
    (as_user "$SERVER_USER" timeout -k 5 "$(seconds 60)" /vm/tenure "$@") </dev/null >"$OUT/stdout" 2>"$OUT/stderr"
    status=$?
    cat "$OUT/stdout" "$OUT/stderr" >"$OUT/all"
    cat "$OUT/stdout"
    return $status
}

# One value of what the server says, by the words of a path into it.
field() { # words of the command, then --, then keys
    local words=()
    while [ "$1" != -- ]; do words+=("$1"); shift; done
    shift
    ask --json "${words[@]}" >/dev/null
    python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[key] if isinstance(value, dict) else value[int(key)]
print("" if value is None else value)
' "$OUT/stdout" "$@" 2>>"$OUT/all"
}

server_kill() {
    kill -9 $SERVER
    wait $SERVER 2>/dev/null
}

server_stop() {
    kill -TERM $SERVER
    wait $SERVER 2>/dev/null
    sleep 1
    SCOPE=$SERVER_SCOPE SERVER_SCOPE=
    scope_remove
}

# Waits until a value is what it should be.
until_field() { # wanted, then as for field
    local wanted="$1" tries=0
    shift
    while [ "$(field "$@")" != "$wanted" ]; do
        tries=$((tries + 1))
        [ $tries -lt "$(seconds 30)" ] || return 1
        sleep 0.5
    done
}

check() { # name, wanted, found
    if [ "$2" = "$3" ]; then
        pass "$SERVER_USER: $1"
    else
        printf 'wanted: %s\nfound: %s\n' "$2" "$3" >>"$OUT/all"
        fail "$SERVER_USER: $1"
    fi
}

unenforced() { [ "$SERVER_USER" = root ] || echo --allow-unenforced; }

# A new session; its ID.
session() { # further options
    # shellcheck disable=SC2046
    ask session create $(unenforced) "$@"
}

audit_check() {
    check "the audit verifies" True "$(field audit verify -- intact)"
}
