#!/usr/bin/env bash
# Stops the server that owns the data directory, and waits until it has drained.
set -euo pipefail
if [[ $(id -u) == 0 ]]; then default=/var/lib/tenure; else default=${XDG_STATE_HOME:-$HOME/.local/state}/tenure; fi
data=${TENURE_DATA_DIR:-$default}
lock=$data/server.lock

# The lock is what says that a server runs: a process ID alone may be somebody else's by now.
if [[ ! -e $lock ]] || flock --nonblock "$lock" true; then
	echo "No server uses $data."
	exit 0
fi
pid=$(cat "$lock")
kill -TERM "$pid"
for _ in $(seq 300); do
	if flock --nonblock "$lock" true; then
		echo "The server has stopped."
		exit 0
	fi
	sleep 0.2
done
echo "The server (process $pid) has not stopped within 60 s; see $data/server.log." >&2
exit 1
