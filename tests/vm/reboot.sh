#!/bin/bash
# Proves that the data disk outlives the machine, and is the place for what must hold across a reboot: the first start
# (VM_BOOT=1) leaves something behind, the second (VM_BOOT=2) finds it. With `run.sh --reboot=cut` the first start ends
# like a power cut: nothing is synced, nothing unmounted.
. /vm/checks.sh

if [ "$VM_BOOT" = 1 ]; then
    for data in /data /data-btrfs; do
        cp /proc/sys/kernel/random/boot_id $data/boot_id
        sync $data/boot_id
        echo "not synced" >$data/late
    done
    pass "boot 1 left its mark"
else
    for data in /data /data-btrfs; do
        if [ -s $data/boot_id ] && ! cmp -s $data/boot_id /proc/sys/kernel/random/boot_id; then
            pass "$data kept what was synced before the reboot"
        else
            fail "$data kept what was synced before the reboot"
        fi
        [ -s $data/late ] && note "$data also kept what was not synced" || note "$data lost what was not synced"
    done
fi
verdict
