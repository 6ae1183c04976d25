#!/bin/bash
# Proves Tenure on a kernel that has cgroup v2 alone: boots a Debian virtual machine without network, runs the checks and
# the test executables in it as root and as an ordinary user, and ends with the guest's status. See README.md.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${TENURE_VM_CACHE:-$ROOT/target/vm}
CONSOLE=$CACHE/console.log

SCRIPT=guest.sh
SCRIPT_FILES=()
ACCEL=auto
LIMIT=
MEMORY=3072
FILTER=
TENURE=
PROFILE=dev
PACKAGES="tenure-linux tenure"
TESTS=yes
REBOOT=
DISK_DIR=

usage() {
    cat <<'EOF'
Usage: tests/vm/run.sh [OPTIONS]
  --probe             only ask what the guest's kernel gives; nothing is built
  --smoke             the probe and the program from the outside, without test executables
  --filter TEXT       only test executables whose name (package/target) contains TEXT
  --package NAME      take test executables of this package (repeatable; default: tenure-linux, tenure)
  --profile NAME      cargo profile (default: dev)
  --tenure FILE       this executable instead of a built one; implies --smoke
  --script FILE       run this script in the guest instead of guest.sh
  --reboot[=cut]      start the machine twice over the same data disks (default script: reboot.sh);
                      cut: the first start ends without syncing or unmounting anything
  --keep-disk DIR     keep the data disks in DIR and use them again if they are there
  --accel auto|kvm|tcg
  --memory MIB        of the guest (default: 3072)
  --timeout SECONDS   for each start (default: 600 with KVM, 3600 without)
EOF
}

say() { echo "vm: $*" >&2; }
die() { say "$*"; exit 1; }

options() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --probe) SCRIPT=probe.sh TESTS=no ;;
            --smoke) TESTS=smoke ;;
            --filter) FILTER=$2; shift ;;
            --package) [ "${PACKAGES_GIVEN:-}" ] || PACKAGES=; PACKAGES_GIVEN=1; PACKAGES+=" $2"; shift ;;
            --profile) PROFILE=$2; shift ;;
            --tenure) TENURE=$(realpath "$2"); TESTS=smoke; shift ;;
            --script) SCRIPT_FILES+=("$(realpath "$2")"); SCRIPT=$(basename "$2"); shift ;;
            --reboot) REBOOT=clean ;;
            --reboot=cut) REBOOT=cut ;;
            --keep-disk) mkdir -p "$2"; DISK_DIR=$(realpath "$2"); shift ;;
            --accel) ACCEL=$2; shift ;;
            --memory) MEMORY=$2; shift ;;
            --timeout) LIMIT=$2; shift ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; exit 2 ;;
        esac
        shift
    done
    if [ -n "$REBOOT" ] && [ "$SCRIPT" = guest.sh ]; then SCRIPT=reboot.sh TESTS=smoke; fi
}

# Installs packages by name where the command that stands for each is missing.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "missing: ${missing[*]} (installing them needs root)"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

# Builds, and prints one line per executable: kind (test or bin), name, executable, the package's directory.
build() {
    local packages=() name
    for name in $PACKAGES; do packages+=(-p "$name"); done
    (
        cd "$ROOT"
        cargo build --profile "$PROFILE" --bins -p tenure --message-format=json-render-diagnostics
        [ "$TESTS" = smoke ] ||
            cargo test --no-run --profile "$([ "$PROFILE" = dev ] && echo test || echo "$PROFILE")" \
                "${packages[@]}" --message-format=json-render-diagnostics
    ) | python3 -c '
import json, os, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("reason") == "compiler-artifact" and made.get("executable"):
        directory = os.path.dirname(made["manifest_path"])
        target = made["target"]
        name = os.path.basename(directory) + "/" + ("unit" if "test" not in target["kind"] else target["name"])
        if "test" not in target["kind"] and target["kind"] == ["bin"]:
            name = os.path.basename(directory) + "/bin-" + target["name"]
        print("test" if made["profile"]["test"] else "bin", name, made["executable"], directory, sep="\t")
' | sort -u
}

# Everything lies in the guest where it lies here, since tests know the paths of their package and of the program.
payload() { # directory to fill, tar archive to write
    local to="$1" kind name executable directory
    mkdir -p "$to/vm"
    cp "$HERE"/{guest-init,checks,serve,probe,guest,reboot}.sh "${SCRIPT_FILES[@]}" "$to/vm/"
    cc -O1 -Wall -static -o "$to/vm/probe" "$HERE/probe.c"
    : >"$to/vm/tests"
    if [ -n "$TENURE" ]; then
        cp "$TENURE" "$to/vm/tenure"
    elif [ "$TESTS" != no ]; then
        build >"$RUN/built"
        # Where tests make their directories: they know it by this path, too.
        local tests_dir="${CARGO_TARGET_DIR:-$ROOT/target}/tmp"
        mkdir -p "$to$tests_dir"
        echo "$tests_dir" >"$to/vm/tests-dir"
        while IFS=$'\t' read -r kind name executable directory; do
            mkdir -p "$to$(dirname "$executable")" "$to$directory"
            cp -r "$directory/." "$to$directory/"
            # Debug information is most of the size, and only names lines.
            strip --strip-debug -o "$to$executable" "$executable"
            if [ "$kind" = test ]; then printf '%s\t%s\t%s\n' "$name" "$executable" "$directory" >>"$to/vm/tests"; fi
            if [ "$kind:$(basename "$executable")" = bin:tenure ]; then cp "$to$executable" "$to/vm/tenure"; fi
        done <"$RUN/built"
    fi
    chmod -R a+rX "$to"
    # Owners of the host's checkout mean nothing in the guest; the directories on the way belong to the guest already.
    tar -C "$to" --owner=0 --group=0 --no-recursion -cf "$2" --null -T <(cd "$to" && find . -mindepth 1 \
        ! -path ./tmp ! -path ./root ! -path ./home ! -path ./var ! -path ./usr ! -path ./etc -print0)
}

settings() { # boot number, slow
    printf 'VM_BOOT=%s\nVM_SLOW=%s\nVM_SCRIPT=%q\nVM_FILTER=%q\nVM_LIMIT=%s\nVM_CUT=%s\n' \
        "$1" "$2" "$SCRIPT" "$FILTER" $((LIMIT * 8 / 10)) \
        "$([ "$REBOOT" = cut ] && [ "$1" = 1 ] && echo 1 || echo 0)"
}

# Becomes the machine: call it in a subshell. It dies with this script, also when that is killed.
machine() { # accelerator, seconds, file for the result, kernel arguments, further options…
    local accel="$1" limit="$2" result="$3" arguments="$4"
    shift 4
    # cgroup_no_v1: not even by mistake. mitigations=off: guests are thrown away, and emulation is slow enough.
    exec setpriv --pdeathsig TERM timeout -k 5 "$limit" qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m "$MEMORY" \
        -display none -monitor none -nic none -no-reboot -serial stdio -serial "file:$result" \
        -kernel "$IMAGE/vmlinuz" -initrd "$IMAGE/initrd.gz" \
        -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all mitigations=off $arguments" "$@" </dev/null
}

# /dev/kvm may be there and not carry a guest: the one proof is a kernel that boots.
choose_accel() {
    [ "$ACCEL" = auto ] || return 0
    local known=$CACHE/accel boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    if [ ! -w /dev/kvm ]; then
        ACCEL=tcg
    elif [ "$(cut -d' ' -f1 "$known" 2>/dev/null)" = "$boot" ]; then
        ACCEL=$(cut -d' ' -f2 "$known")
    else
        ACCEL=tcg
        (machine kvm 15 "$RUN/trial" vm.trial) >"$RUN/trial.log" 2>&1 || true
        if grep -qs '^exit 0' "$RUN/trial"; then ACCEL=kvm; else say "/dev/kvm boots no kernel here"; fi
        echo "$boot $ACCEL" >"$known"
    fi
}

data_disks() { # directory
    if [ ! -f "$1/data.ext4" ]; then
        truncate -s 16G "$1/data.ext4"
        mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 "$1/data.ext4"
    fi
    if [ ! -f "$1/data.btrfs" ]; then
        truncate -s 16G "$1/data.btrfs"
        mkfs.btrfs -q "$1/data.btrfs" >/dev/null
    fi
}

boot() { # number
    local result="$RUN/result-$1" code slow
    slow=$([ "$ACCEL" = kvm ] && echo 0 || echo 1)
    settings "$1" "$slow" >"$RUN/tree/vm/settings"
    # Appended: the last member of a name wins.
    tar -C "$RUN/tree" --owner=0 --group=0 -rf "$RUN/payload.tar" vm/settings
    # In the background, so that the script itself is the parent and a signal reaches it at once.
    (TMPDIR=$RUN machine "$ACCEL" "$LIMIT" "$result" "" \
        -drive "file=$IMAGE/root.ext4,format=raw,if=virtio,snapshot=on" \
        -drive "file=$RUN/payload.tar,format=raw,if=virtio,readonly=on" \
        -drive "file=$DISK_DIR/data.ext4,format=raw,if=virtio" \
        -drive "file=$DISK_DIR/data.btrfs,format=raw,if=virtio") > >(sed -u 's/\r$//' | tee -a "$CONSOLE") 2>&1 &
    wait $! || true
    code=$(sed -n 's/^exit \([0-9]*\).*/\1/p' "$result" 2>/dev/null | tail -1)
    if [ -z "$code" ]; then
        say "boot $1 gave no result: the guest panicked, or its $LIMIT s were over (console: $CONSOLE)"
        return 97
    fi
    return "$code"
}

main() {
    options "$@"
    need qemu-system-x86_64 qemu-system-x86 mkfs.btrfs btrfs-progs mkfs.ext4 e2fsprogs cc gcc python3 python3
    IMAGE=$("$HERE/image.sh" "$CACHE")
    # What a killed run left: its disks are sparse, but not small.
    find "$CACHE" -maxdepth 1 -name 'run.*' -mmin +1440 -exec rm -rf {} +
    RUN=$(mktemp -d "$CACHE/run.XXXXXX")
    trap 'rm -rf "$RUN"' EXIT
    : >"$CONSOLE"
    payload "$RUN/tree" "$RUN/payload.tar"
    choose_accel
    LIMIT=${LIMIT:-$([ "$ACCEL" = kvm ] && echo 600 || echo 3600)}
    [ -n "$DISK_DIR" ] || DISK_DIR=$RUN
    data_disks "$DISK_DIR"
    say "booting $(cat "$IMAGE/about") with $ACCEL, at most $LIMIT s"
    local status=0
    boot 1 || status=$?
    if [ "$status" = 0 ] && [ -n "$REBOOT" ]; then
        say "booting again"
        boot 2 || status=$?
    fi
    say "the guest ended with $status after $SECONDS s"
    exit "$status"
}

main "$@"
