#!/bin/bash
# Makes what the virtual machine boots from, once, into a cache directory: a Debian kernel that is extracted and never
# installed, an initramfs, and the guest's root file system.
#
# Usage: image.sh CACHE-DIR
#
#   CACHE/<key>/vmlinuz      the distribution's kernel, unchanged
#   CACHE/<key>/initrd.gz    busybox and the modules that reach the disks
#   CACHE/<key>/root.ext4    a minimal Debian of the host's own release (so that programs built here run there)
#   CACHE/<key>/about        one line: kernel package and release
#
# The key is the digest of this file and of initramfs-init.sh: a changed recipe makes a new image. Needs root.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${1:?usage: image.sh CACHE-DIR}

# What the guest's programs and tests need, besides the minimal system.
GUEST_PACKAGES=bash,btrfs-progs,busybox-static,e2fsprogs,file,iproute2,kmod,procps,python3,tmux,vim-tiny
# Installed by apt afterwards: their dependencies are more than debootstrap can put in order.
LATER_PACKAGES="skopeo umoci"
# Without these no root file system is reached; everything else is loaded in the guest by modprobe.
BOOT_MODULES="virtio_pci virtio_blk ext4"
# Parts of the kernel's module tree that a guest of this kind can use.
MODULE_DIRS="arch crypto drivers/block drivers/virtio fs lib net/unix"

say() { echo "vm: $*" >&2; }
die() { say "$*"; exit 1; }

key() { cat "$HERE/image.sh" "$HERE/initramfs-init.sh" | sha256sum | cut -c1-12; }

# Installs packages by name where the command that stands for each is missing.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# The address of the archive that the host's own apt takes its release from.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$1" '$2 == suite && $3 == "main" { print $1; exit }'
}

kernel_package() {
    apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1
}

fetch_kernel() { # directory for the extracted package
    local package
    package=$(kernel_package)
    if [ -z "$package" ]; then
        apt-get update -q >&2
        package=$(kernel_package)
    fi
    [ -n "$package" ] || die "the package archive knows no linux-image-amd64"
    say "fetching $package"
    (cd "$1" && apt-get download -q "$package" >&2 2>/dev/null && dpkg-deb -x ./*.deb tree && rm ./*.deb)
    echo "$package"
}

make_root() { # root directory, suite
    local from
    from=$(mirror "$2")
    [ -n "$from" ] || die "apt's sources name no archive for $2"
    say "building a minimal $2 from $from (about a minute)"
    debootstrap --variant=minbase --include="$GUEST_PACKAGES" "$2" "$1" "$from" >"$1.log" 2>&1 ||
        { tail -20 "$1.log" >&2; die "debootstrap failed"; }
    # shellcheck disable=SC2086
    { chroot "$1" apt-get update -q && DEBIAN_FRONTEND=noninteractive chroot "$1" \
        apt-get install -y -q --no-install-recommends $LATER_PACKAGES; } >"$1.log" 2>&1 ||
        { tail -20 "$1.log" >&2; die "apt in the guest's root failed"; }
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale}/*
    chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash user
    # No ranges of subordinate users: the rootless case is the bare one.
    : >"$1/etc/subuid"
    : >"$1/etc/subgid"
    echo tenure-vm >"$1/etc/hostname"
    echo "127.0.0.1 localhost tenure-vm" >"$1/etc/hosts"
}

add_modules() { # root directory, kernel tree, version
    local from="$2/lib/modules/$3" to="$1/lib/modules/$3" dir
    mkdir -p "$to"
    cp "$from"/modules.* "$to"/
    for dir in $MODULE_DIRS; do
        [ -d "$from/kernel/$dir" ] || continue
        mkdir -p "$to/kernel/$(dirname "$dir")"
        cp -r "$from/kernel/$dir" "$to/kernel/$dir"
    done
    chroot "$1" depmod "$3" 2>/dev/null
}

# The order of insertion is asked of modprobe, so that it holds for the next kernel too.
make_initramfs() { # root directory, version, output
    local tree module
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,dev,proc,root,modules}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp "$HERE/initramfs-init.sh" "$tree/init"
    chmod +x "$tree/init"
    # shellcheck disable=SC2086
    chroot "$1" modprobe --all --show-depends --set-version "$2" $BOOT_MODULES |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/order"
    while read -r module; do
        cp "$1/$module" "$tree/modules/"
        echo "/modules/$(basename "$module")"
    done <"$tree/order" >"$tree/modules/order"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$3"
    rm -rf "$tree"
}

build() { # directory to fill
    local work="$1" suite package version
    suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-}") || true
    [ -n "$suite" ] || die "the guest is made from the host's own release, and that must be Debian"
    mkdir "$work/kernel" "$work/root"
    package=$(fetch_kernel "$work/kernel")
    version=${package#linux-image-}
    make_root "$work/root" "$suite"
    add_modules "$work/root" "$work/kernel/tree" "$version"
    make_initramfs "$work/root" "$version" "$work/initrd.gz"
    cp "$work/kernel/tree/boot/vmlinuz-$version" "$work/vmlinuz"
    truncate -s 6G "$work/root.ext4"
    mkfs.ext4 -q -F -L tenure-root -d "$work/root" "$work/root.ext4"
    rm -rf "$work/kernel" "$work/root" "$work/root.log"
    echo "$package on $suite" >"$work/about"
}

main() {
    local work
    mkdir -p "$CACHE"
    # Two runs at once build one image.
    exec 9>"$CACHE/lock"
    flock 9
    local to
    to="$CACHE/$(key)"
    if [ ! -f "$to/about" ]; then
        [ "$(id -u)" = 0 ] || die "building the guest's image the first time needs root"
        need debootstrap debootstrap busybox busybox-static cpio cpio mkfs.ext4 e2fsprogs dpkg-deb dpkg
        work=$(mktemp -d "$CACHE/build.XXXXXX")
        # shellcheck disable=SC2064
        trap "rm -rf '$work'" EXIT
        build "$work"
        chmod 755 "$work"
        # Only the newest image is kept: each holds several hundred megabytes.
        find "$CACHE" -mindepth 1 -maxdepth 1 -regextype egrep -regex '.*/[0-9a-f]{12}' -exec rm -rf {} +
        mv "$work" "$to"
    fi
    echo "$to"
}

main
