#!/bin/busybox sh
# First program of the virtual machine: reaches the disks, unpacks the payload into the root, and hands over to it.
#
#   /dev/vda  root file system (changes are thrown away by the machine)
#   /dev/vdb  payload: a plain tar archive, unpacked at /
b=/bin/busybox

fail() {
    echo "vm: $*"
    echo "exit 99" >/dev/ttyS1
    echo o >/proc/sysrq-trigger
    $b sleep 60
}

$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev

# Asked only whether this accelerator boots a kernel at all.
if $b grep -qw vm.trial /proc/cmdline; then
    echo "exit 0" >/dev/ttyS1
    echo o >/proc/sysrq-trigger
    $b sleep 60
fi

while read -r module; do
    $b insmod "$module" || fail "cannot insert $module"
done </modules/order

tries=0
while [ ! -b /dev/vda ] || [ ! -b /dev/vdb ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "the disks do not appear"
    $b sleep 0.1
done
$b mount -t ext4 /dev/vda /root || fail "cannot mount the root file system"
$b mount --move /dev /root/dev
$b chroot /root /bin/tar -xf /dev/vdb -C / || fail "cannot unpack the payload"
$b umount /proc
exec $b switch_root /root /vm/guest-init.sh
