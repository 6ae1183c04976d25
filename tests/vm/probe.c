/* Asks the guest's kernel for what no command-line tool of the release asks: clone into a cgroup, mounts with mapped
 * owners, the Landlock version. Exit status 0: it is given; 1: it is not, with the error on stderr. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int give_up(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

/* Starts a child in the group and lets it say which group it is in. */
static int clone_into(const char *group) {
    int group_fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int pidfd = -1;
    if (group_fd < 0) return give_up(group);
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)group_fd,
    };
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) return give_up("clone3");
    if (pid == 0) {
        execlp("cat", "cat", "/proc/self/cgroup", (char *)NULL);
        _exit(127);
    }
    siginfo_t ended = {0};
    if (waitid(P_PIDFD, (id_t)pidfd, &ended, WEXITED) < 0) return give_up("waitid");
    return ended.si_status;
}

static int write_map(pid_t pid, const char *file) {
    char path[64];
    const char map[] = "0 100000 65536";
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_WRONLY);
    int wrong = fd < 0 || write(fd, map, sizeof map - 1) < 0;
    if (fd >= 0) close(fd);
    return wrong;
}

/* A user namespace in which 0..65536 is 100000..165536 outside. */
static int user_namespace(void) {
    char path[64], byte;
    int ready[2];
    if (pipe(ready) < 0) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) == 0) write(ready[1], "x", 1);
        pause();
        _exit(0);
    }
    int fd = -1;
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1 && !write_map(pid, "uid_map") && !write_map(pid, "gid_map")) {
        snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return fd;
}

/* Mounts `from` at `to` with owners mapped, and prints the owner that a file of root has there. */
static int idmap(const char *from, const char *to) {
    char path[4096];
    struct stat seen;
    int userns = user_namespace();
    if (userns < 0) return give_up("user namespace");
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0) return give_up("open_tree");
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0) return give_up("mount_setattr");
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0) return give_up("move_mount");
    snprintf(path, sizeof path, "%s/file", to);
    if (stat(path, &seen) < 0) return give_up(path);
    printf("%u\n", seen.st_uid);
    return 0;
}

static int landlock(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version, no ruleset */);
    if (version < 0) return give_up("landlock");
    printf("%ld\n", version);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "clone-into")) return clone_into(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "idmap")) return idmap(argv[2], argv[3]);
    if (argc == 2 && !strcmp(argv[1], "landlock")) return landlock();
    fprintf(stderr, "usage: probe clone-into GROUP | idmap FROM TO | landlock\n");
    return 2;
}
