#!/usr/bin/env bash
# Holds a real server to its own description: validates /openapi.json, then lets schemathesis make requests of it, hostile ones included.
# A server error, an undocumented status or an answer of another shape fails.
# Usage: scripts/api-check.sh TENURE TARGET_DIR   (the binary; where tools and data are kept)
set -euo pipefail
tenure=$(realpath "$1")
target=$(realpath "$2")
tools=$target/api-check
examples=${API_CHECK_EXAMPLES:-12}

# Versions are pinned: what passes here must pass next week.
wanted='schemathesis==4.32.5 openapi-spec-validator==0.7.2'
if [[ ! -x $tools/bin/schemathesis || $(cat "$tools/wanted" 2>/dev/null) != "$wanted" ]]; then
	rm -rf "$tools"
	python3 -m venv "$tools"
	# shellcheck disable=SC2086
	"$tools/bin/pip" install --quiet --disable-pip-version-check $wanted
	echo "$wanted" >"$tools/wanted"
fi

url=
data=$(mktemp --directory --tmpdir=/var/tmp tenure-api-check-XXXXXX)
mkfifo "$data/ready"
TENURE_POOL_BYTES=1G TENURE_GRACE_MS=0 TENURE_LOG=error \
	"$tenure" --data-dir "$data/data" serve --listen 127.0.0.1:0 >"$data/ready" 2>"$data/log" </dev/null &
server=$!
finish() {
	cat "$data/log" >&2
	# Sessions outlive the server: each is ended first.
	while read -r id; do
		"$tenure" --url "$url" session terminate "$id" >/dev/null 2>&1 || true
	done < <("$tenure" --url "$url" --json session list 2>/dev/null | grep -o 'exec_[0-9]\{8\}_[0-9]\{6\}_[0-9a-f]\{8\}' | sort -u)
	sleep 1
	kill -TERM "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	rm -rf "$data"
}
trap finish EXIT
read -r line <"$data/ready"
url=${line#tenure listens on }
TENURE_API_KEY=$(cat "$data/data/admin.key")
export TENURE_API_KEY

cd "$data" # the tools leave files where they stand
curl --silent --fail "$url/openapi.json" >"$data/openapi.json"
"$tools/bin/openapi-spec-validator" "$data/openapi.json"
# Keys are left alone: revoking the one that is used would end the run. Streams without an end are tried by tests of their own.
"$tools/bin/schemathesis" run "$data/openapi.json" --url "$url" \
	--header "Authorization: Bearer $TENURE_API_KEY" \
	--exclude-path-regex '/v1/keys/.*|.*/(events|watch)$|.*/preview/.*' \
	--checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
	--max-examples "$examples" --workers 1 --request-timeout 30 --seed 1 --generation-database none
