#!/usr/bin/env bash
# Installs what .ci/packages lists and is missing. Quick when nothing is; never fails for lack of rights: it says what
# is missing and goes on, because much works without.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

have_dpkg() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

installed=" "
if have_dpkg; then
    installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package}\n' | sed -n 's/^installed://p' | tr '\n' ' ')"
fi

# present ALTERNATIVES COMMANDS: by package where there is dpkg, otherwise by command; `-` is a command nobody can see.
present() {
    local one
    if have_dpkg; then
        for one in ${1//|/ }; do [[ $installed == *" $one "* ]] && return 0; done
        return 1
    fi
    [ "$2" = - ] && return 0
    for one in ${2//|/ }; do command -v "$one" >/dev/null && return 0; done
    return 1
}

missing=()
reasons=()
while read -r purpose package command why; do
    case $purpose in '' | '#'*) continue ;; esac
    if ! present "$package" "$command"; then
        missing+=("${package%%|*}")
        reasons+=("$(printf '  %-16s to %-5s %s' "${package%%|*}" "$purpose" "$why")")
    fi
done <.ci/packages

if ! command -v cargo >/dev/null; then
    echo "setup: the Rust toolchain is missing (see rust-version in Cargo.toml): https://www.rust-lang.org/tools/install" >&2
    exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0

printf 'setup: missing:\n' >&2
printf '%s\n' "${reasons[@]}" >&2
if ! have_dpkg; then
    echo "setup: no apt here: install them by hand; going on without" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo)
else
    echo "setup: neither root nor sudo without a password; going on without. As root: apt-get install ${missing[*]}" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq </dev/null
"${as_root[@]}" apt-get install -qq --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null
echo "setup: installed ${missing[*]}" >&2
