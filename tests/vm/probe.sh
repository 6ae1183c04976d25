#!/bin/bash
# Says what the guest's kernel gives, with plain commands and without Tenure: if a later check fails, this tells whether
# the machine or the product is to blame.
. /vm/checks.sh
WORK=/run/probe
CG=/sys/fs/cgroup
mkdir -p $WORK

# Runs a function; its output goes to the failure's report.
probe() { # name, function
    : >"$OUT/all"
    if "$2" >"$OUT/all" 2>&1; then pass "$1"; else fail "$1"; fi
}

only_v2() {
    grep -E ' cgroup ' /proc/mounts && return 1
    [ "$(awk 'NR > 1 && $2 != 0' /proc/cgroups | wc -l)" = 0 ] && [ "$(cat /proc/1/cgroup)" = "0::/" ]
}
controllers() {
    cat $CG/cgroup.subtree_control
    for c in cpu io memory pids; do grep -qw $c $CG/cgroup.subtree_control || return 1; done
}
kill_file() {
    mkdir $CG/p-kill
    bash -c "echo \$\$ >$CG/p-kill/cgroup.procs; exec sleep 1000" &
    until grep -q . $CG/p-kill/cgroup.procs; do sleep 0.1; done
    echo 1 >$CG/p-kill/cgroup.kill
    wait $!
    [ $? = 137 ] && rmdir $CG/p-kill
}
memory_limit() {
    mkdir $CG/p-memory
    echo 32M >$CG/p-memory/memory.max
    echo 1 >$CG/p-memory/memory.oom.group
    bash -c "echo \$\$ >$CG/p-memory/cgroup.procs; exec python3 -c 'b = b\"x\" * (256 << 20)'"
    [ $? = 137 ] || return 1
    cat $CG/p-memory/memory.events
    grep -qE 'oom_kill [1-9]' $CG/p-memory/memory.events && rmdir $CG/p-memory
}
pids_limit() {
    mkdir $CG/p-pids
    echo 5 >$CG/p-pids/pids.max
    bash -c "echo \$\$ >$CG/p-pids/cgroup.procs; for i in 1 2 3 4 5 6 7 8; do sleep 1 & done"
    grep -qE 'max [1-9]' $CG/p-pids/pids.events
    local status=$?
    echo 1 >$CG/p-pids/cgroup.kill
    sleep 0.5
    rmdir $CG/p-pids
    return $status
}
freezer() {
    mkdir $CG/p-freeze
    bash -c "echo \$\$ >$CG/p-freeze/cgroup.procs; exec sleep 1000" &
    until grep -q . $CG/p-freeze/cgroup.procs; do sleep 0.1; done
    echo 1 >$CG/p-freeze/cgroup.freeze
    for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q 'frozen 1' $CG/p-freeze/cgroup.events && break; sleep 0.2; done
    grep -q 'frozen 1' $CG/p-freeze/cgroup.events
    local status=$?
    echo 1 >$CG/p-freeze/cgroup.kill
    wait $!
    rmdir $CG/p-freeze
    return $status
}
clone_into() {
    mkdir $CG/p-clone
    /vm/probe clone-into $CG/p-clone | tee $WORK/clone
    grep -qx '0::/p-clone' $WORK/clone && rmdir $CG/p-clone
}
user_clone_into() {
    run_as user "$(seconds 20)" bash -c '
        set -e
        own=/sys/fs/cgroup$(sed "s/^0:://" /proc/self/cgroup)
        mkdir "$own/main" "$own/child"
        echo $$ >"$own/main/cgroup.procs"
        echo "+memory +pids" >"$own/cgroup.subtree_control"
        echo 64M >"$own/child/memory.max"
        /vm/probe clone-into "$own/child"'
    local status=$?
    cat "$OUT/stderr" "$OUT/stdout" >"$WORK/out"
    cp "$WORK/out" "$OUT/all"
    [ $status = 0 ] && grep -q '/child$' "$WORK/out"
}
user_limit_kills() {
    run_as user "$(seconds 30)" bash -c '
        own=/sys/fs/cgroup$(sed "s/^0:://" /proc/self/cgroup)
        mkdir "$own/main" "$own/child" && echo $$ >"$own/main/cgroup.procs" &&
            echo "+memory" >"$own/cgroup.subtree_control" && echo 32M >"$own/child/memory.max" || exit 1
        bash -c "echo \$\$ >$own/child/cgroup.procs; exec python3 -c \"b = b\\\"x\\\" * (256 << 20)\""
        [ $? = 137 ]'
}
overlay_root() {
    mkdir -p $WORK/o/{lower,upper,work,at}
    echo below >$WORK/o/lower/file
    mount -t overlay overlay -o lowerdir=$WORK/o/lower,upperdir=$WORK/o/upper,workdir=$WORK/o/work $WORK/o/at &&
        echo above >$WORK/o/at/file && grep -q below $WORK/o/lower/file && umount $WORK/o/at
}
user_namespaces() {
    run_as user "$(seconds 20)" unshare --user --map-root-user --mount --pid --fork --mount-proc --net --ipc --uts \
        --cgroup --time bash -c '[ $$ = 1 ] && [ "$(id -u)" = 0 ] && [ "$(cat /proc/self/cgroup)" = "0::/" ]'
}
user_overlay() { # directory of the user
    run_as user "$(seconds 20)" unshare --user --map-root-user --mount bash -c '
        set -e
        cd "$1" && mkdir -p o/lower o/upper o/work o/at && echo below >o/lower/file
        mount -t overlay overlay -o userxattr,lowerdir=o/lower,upperdir=o/upper,workdir=o/work o/at
        echo above >o/at/file && grep -q below o/lower/file && rm o/at/file && ! [ -e o/at/file ]' - "$1"
}
user_overlay_ext4() { user_overlay /data/user; }
user_overlay_btrfs() { user_overlay /data-btrfs/user; }
user_overlay_over_usr() {
    run_as user "$(seconds 20)" unshare --user --map-root-user --mount bash -c '
        mkdir -p /data/user/u/upper /data/user/u/work /data/user/u/at && cd /data/user/u &&
        mount -t overlay overlay -o userxattr,lowerdir=/usr,upperdir=upper,workdir=work at && at/bin/true'
}
btrfs_pool() {
    truncate -s 512M /data/pool && mkfs.btrfs -q /data/pool && mkdir -p $WORK/pool &&
        mount -o loop /data/pool $WORK/pool && btrfs quota enable $WORK/pool &&
        btrfs subvolume create $WORK/pool/a
}
btrfs_quota() {
    btrfs qgroup limit 32M $WORK/pool/a && sync
    dd if=/dev/zero of=$WORK/pool/a/fill bs=1M count=100 && return 1
    [ "$(stat -c %s $WORK/pool/a/fill)" -le $((33 << 20)) ]
}
btrfs_snapshot() {
    rm $WORK/pool/a/fill && sync && echo x >$WORK/pool/a/file &&
        btrfs subvolume snapshot $WORK/pool/a $WORK/pool/b && grep -q x $WORK/pool/b/file &&
        btrfs subvolume delete $WORK/pool/b
}
idmap() { # directory
    mkdir -p "$1/from" "$1/to" && touch "$1/from/file" && /vm/probe idmap "$1/from" "$1/to" | tee $WORK/owner
    umount "$1/to"
    grep -qx 100000 $WORK/owner
}
idmap_ext4() { idmap /data/root; }
idmap_btrfs() { idmap $WORK/pool/a; }
close_pool() { umount $WORK/pool && rm /data/pool && ! losetup -a | grep .; }

optional() {
    local landlock
    landlock=$(/vm/probe landlock 2>&1) && note "landlock version $landlock" || note "no landlock: $landlock"
    mkdir -p /dev/shm/idmap
    if idmap /dev/shm/idmap >/dev/null 2>&1; then note "idmapped tmpfs: yes"; else note "idmapped tmpfs: no"; fi
    mkdir $CG/p-files
    for file in memory.peak memory.reclaim memory.zswap.max cpu.max.burst cpu.pressure io.max cgroup.pressure pids.peak; do
        [ -e $CG/p-files/$file ] && note "$file: yes" || note "$file: no"
    done
    rmdir $CG/p-files
    note "seccomp actions: $(cat /proc/sys/kernel/seccomp/actions_avail)"
    note "unprivileged_userns_clone: $(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null || echo absent)"
    note "memory: $(free -m | awk 'NR == 2 { print $2 }') MiB, processors: $(nproc), swap: $(free -m | awk 'NR == 3 { print $2 }') MiB"
}

note "kernel $(uname -r), $(. /etc/os-release && echo "$PRETTY_NAME")"
probe "cgroup v2 only" only_v2
probe "controllers cpu io memory pids are enabled" controllers
probe "cgroup.kill" kill_file
probe "memory.max kills, with 137, and counts it" memory_limit
probe "pids.max refuses and counts it" pids_limit
probe "cgroup.freeze" freezer
probe "clone3 into a cgroup" clone_into
probe "clone3 into a cgroup of the user's own delegated subtree" user_clone_into
probe "memory.max in the user's own subtree kills" user_limit_kills
probe "overlay" overlay_root
probe "unprivileged user namespace, with all others" user_namespaces
probe "overlay in a user namespace, on ext4" user_overlay_ext4
probe "overlay in a user namespace, on btrfs" user_overlay_btrfs
probe "overlay in a user namespace, over the system's /usr" user_overlay_over_usr
probe "btrfs on a loop device, with quotas" btrfs_pool
probe "btrfs quota stops a writer" btrfs_quota
probe "btrfs snapshot" btrfs_snapshot
probe "idmapped mount of ext4" idmap_ext4
probe "idmapped mount of btrfs" idmap_btrfs
probe "pool closed, no loop device left" close_pool
optional
[ "${BASH_SOURCE[0]}" != "$0" ] || verdict
