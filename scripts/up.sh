#!/usr/bin/env bash
# Starts the server in the background and returns when it answers; says its URL and where its key is.
# Usage: scripts/up.sh TENURE   (the path of the binary). TENURE_DATA_DIR and TENURE_LISTEN choose another place.
set -euo pipefail
tenure=$1
if [[ $(id -u) == 0 ]]; then default=/var/lib/tenure; else default=${XDG_STATE_HOME:-$HOME/.local/state}/tenure; fi
data=${TENURE_DATA_DIR:-$default}
url=http://${TENURE_LISTEN:-127.0.0.1:7070}
mkdir -p -m 700 "$data"

answers() { curl --silent --fail --max-time 2 --output /dev/null "$url/readyz"; }

if answers; then
	echo "A server answers already at $url."
else
	# Its own session and no terminal: it outlives this shell.
	setsid --fork "$tenure" --data-dir "$data" serve ${TENURE_LISTEN:+--listen "$TENURE_LISTEN"} </dev/null >>"$data/server.log" 2>&1
	for _ in $(seq 150); do
		if answers; then break; fi
		sleep 0.2
	done
	if ! answers; then
		echo "The server did not become ready; the end of $data/server.log:" >&2
		tail -n 20 "$data/server.log" >&2
		exit 1
	fi
fi

cat <<TEXT

Tenure is ready.
  URL   $url
  key   $(cat "$data/admin.key")
        (from $data/admin.key)

Try:
  export TENURE_URL=$url TENURE_API_KEY=\$(cat $data/admin.key)
  $tenure session create
  $tenure doctor
The README has a tour; \`make down\` stops the server.
TEXT
