#!/bin/bash
# PID 1 of the virtual machine: lays out the system as systemd would (cgroup v2 alone, controllers enabled), mounts the
# data disks, runs the asked script and reports its status on the second serial port.
#
#   /dev/vdc  ext4, mounted at /data
#   /dev/vdd  btrfs, mounted at /data-btrfs
#   ttyS1     one line to the host: "exit CODE"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
exec </dev/null

mount_system() {
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t securityfs securityfs /sys/kernel/security
    mkdir -p /dev/pts /dev/shm
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
    mount --make-rshared /
    ln -sf /proc/self/fd /dev/fd
    install -d -m 700 -o 1000 -g 1000 /run/user/1000
    hostname -F /etc/hostname
    ip link set lo up
    # Errors alone: what the kernel says of each out-of-memory kill would drown the results.
    echo 3 >/proc/sys/kernel/printk
    modprobe --all overlay btrfs loop 2>/dev/null
}

enable_controllers() { # cgroup directory
    local controller
    for controller in $(cat "$1/cgroup.controllers"); do
        echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null
    done
}

# As systemd has them: a slice for services, and a subtree that belongs to user 1000.
mount_cgroups() {
    enable_controllers /sys/fs/cgroup
    mkdir /sys/fs/cgroup/system.slice /sys/fs/cgroup/user-1000
    enable_controllers /sys/fs/cgroup/system.slice
    enable_controllers /sys/fs/cgroup/user-1000
    chown 1000:1000 /sys/fs/cgroup/user-1000 /sys/fs/cgroup/user-1000/cgroup.{procs,threads,subtree_control}
}

mount_data() {
    mkdir -p /data /data-btrfs
    mount -t ext4 /dev/vdc /data || return 1
    mount -t btrfs -o user_subvol_rm_allowed /dev/vdd /data-btrfs || return 1
    install -d -m 755 /data/root /data-btrfs/root
    install -d -m 755 -o 1000 -g 1000 /data/user /data-btrfs/user
    if [ -e /vm/tests-dir ]; then
        install -d -m 1777 /data/tests
        mount --bind /data/tests "$(cat /vm/tests-dir)" || return 1
    fi
}

finish() {
    cd /
    # A power cut: what was not synced is lost.
    if [ "${VM_CUT:-0}" = 1 ] && [ "$1" = 0 ]; then
        echo "exit $1" >/dev/ttyS1
        echo b >/proc/sysrq-trigger
        sleep 60
    fi
    # What still runs is ended as every init does it.
    kill -TERM -1
    sleep 2
    kill -KILL -1
    sync
    umount -R -l /data /data-btrfs 2>/dev/null
    sync
    echo "exit $1" >/dev/ttyS1
    echo o >/proc/sysrq-trigger
    sleep 60
}

mount_system
mount_cgroups
mount_data || { echo "vm: cannot mount the data disks"; finish 98; }
. /vm/settings
export VM_BOOT VM_SLOW VM_FILTER VM_CUT
# Ends a little before the host's patience, so that a check that hangs is reported and not only cut off.
timeout -k 5 "$VM_LIMIT" bash "/vm/$VM_SCRIPT"
status=$?
[ $status != 124 ] || echo "FAIL the script did not end within $VM_LIMIT s"
finish $status
