/* A hostile machine in a box: preloaded into a real process, this library counts its writes, syncs, sends, truncations,
 * renames, links, unlinks and opens-for-writing, kills the process or refuses the call at the Nth of them, keeps a
 * journal from which a power loss can be replayed, and lies about the clock, the boot and the kind of file system.
 *
 * It calls the kernel directly (no malloc, no dlsym), so it is safe at any moment of the process's life. Linux with a
 * dynamic C library only. Everything it does is chosen by the environment variables read in `configure`, written by
 * `Fault` on the Rust side; without them each function is the plain system call. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Kinds of calls, as bits of FAULT_KINDS. The journal uses the same numbers. */
enum { WRITE = 1, SYNC = 2, SEND = 4, TRUNCATE = 8, RENAME = 16, LINK = 32, UNLINK = 64, OPEN = 128, CREATE = 256, SYNC_FAILED = 512, READ = 1024 };
enum { NOTHING = 0, KILL_BEFORE = 1, KILL_AFTER = 2, REFUSE_ONCE = 3, REFUSE_FOR_EVER = 4, STOP_BEFORE = 5 };
enum { GO = 0, GO_AND_DIE = 1, REFUSED = -1 };

/* Shared with the test, which reads and writes it as a plain file. */
struct control {
    _Atomic int64_t realtime_offset_ns, boottime_offset_ns, armed, seen, fired;
};

/* One journal entry; the path and then `extra` (bytes written, or the new path) follow it. */
struct entry {
    uint32_t magic, kind;
    int64_t offset; /* of a write; new length of a truncation; for a sync: journal length when it began */
    uint32_t path_len, extra_len;
};

static struct control idle, *control = &idle;
static char below[PATH_MAX], boot_id[PATH_MAX], fs_path[PATH_MAX];
static long kinds, at, act, refusal = EIO, fs_type, late_ms;
static int journal = -1;

static long number(const char *variable, long otherwise) {
    const char *text = getenv(variable);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static void text(const char *variable, char *into) {
    const char *value = getenv(variable);
    if (value && strlen(value) < PATH_MAX) strcpy(into, value);
}

static int raw_open(const char *path, int flags, mode_t mode) {
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

__attribute__((constructor)) static void configure(void) {
    const char *path = getenv("FAULT_CONTROL");
    if (!path) return;
    int fd = raw_open(path, O_RDWR | O_CLOEXEC, 0);
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) control = page;
        syscall(SYS_close, fd);
    }
    text("FAULT_BELOW", below);
    text("FAULT_BOOT_ID", boot_id);
    text("FAULT_FS_PATH", fs_path);
    kinds = number("FAULT_KINDS", 0);
    at = number("FAULT_AT", 0);
    act = number("FAULT_ACT", NOTHING);
    refusal = number("FAULT_ERRNO", EIO);
    fs_type = number("FAULT_FS_TYPE", 0);
    late_ms = number("FAULT_LATE_MS", 0);
    if (getenv("FAULT_JOURNAL"))
        journal = raw_open(getenv("FAULT_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* ---- paths ---- */

static int is_below(const char *path, const char *root) {
    size_t n = strlen(root);
    return n > 0 && strncmp(path, root, n) == 0 && (path[n] == 0 || path[n] == '/');
}

static const char *path_of(int fd, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, into, PATH_MAX - 1);
    into[n > 0 ? n : 0] = 0;
    return into;
}

/* A name in a directory that the process holds open is that directory's; what it holds open has the name that it had. */
static const char *absolute(int dir, const char *path, char *into) {
    int held, rest = 0;
    if (sscanf(path, "/proc/self/fd/%d%n", &held, &rest) == 1 && path[rest] == 0) return path_of(held, into);
    if (sscanf(path, "/proc/self/fd/%d/%n", &held, &rest) == 1 && rest > 0) {
        const char *name = path + rest;
        size_t n = strlen(path_of(held, into));
        if (strcmp(name, ".") != 0 && snprintf(into + n, PATH_MAX - n, "/%s", name) >= (int)(PATH_MAX - n)) into[0] = 0;
        return into;
    }
    if (path[0] == '/') {
        snprintf(into, PATH_MAX, "%s", path);
        return into;
    }
    char base[PATH_MAX];
    if (dir == AT_FDCWD) {
        ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/cwd", base, PATH_MAX - 1);
        base[n > 0 ? n : 0] = 0;
    } else {
        path_of(dir, base);
    }
    if (snprintf(into, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) into[0] = 0;
    return into;
}

/* ---- the journal ---- */

static void note(uint32_t kind, const char *path, int64_t offset, const struct iovec *extra, int parts, size_t length) {
    if (journal < 0 || !is_below(path, below)) return;
    struct entry head = {0x464c4a31, kind, offset, (uint32_t)strlen(path), (uint32_t)length};
    struct iovec all[18] = {{&head, sizeof head}, {(void *)path, head.path_len}};
    int n = 2;
    for (int i = 0; i < parts && n < 18 && length > 0; i++, n++) {
        all[n] = extra[i];
        if (all[n].iov_len > length) all[n].iov_len = length;
        length -= all[n].iov_len;
    }
    syscall(SYS_writev, journal, all, n); /* one append: entries of several processes do not mix */
}

static int64_t journal_length(void) { return journal < 0 ? 0 : syscall(SYS_lseek, journal, 0, SEEK_END); }

/* ---- the gate every chosen call passes ---- */

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

static int gate(int kind, const char *path) {
    if (!(kinds & kind) || !control->armed || (kind != SEND && !is_below(path, below))) return GO;
    int64_t n = atomic_fetch_add(&control->seen, 1) + 1;
    if (at <= 0 || n < at || (n > at && act != REFUSE_FOR_EVER)) return GO;
    if (act == NOTHING) return GO;
    atomic_fetch_add(&control->fired, 1);
    if (act == KILL_BEFORE) die();
    if (act == KILL_AFTER) return GO_AND_DIE;
    if (act == STOP_BEFORE) {
        syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
        return GO;
    }
    errno = refusal;
    return REFUSED;
}

static long leave(int pass, long result) {
    if (pass == GO_AND_DIE) die();
    return result;
}

/* ---- writes ---- */

/* A write to a socket is a message. */
static int gate_of_write(int fd, char *path) {
    path_of(fd, path);
    return gate(strncmp(path, "socket:", 7) == 0 ? SEND : WRITE, path);
}

static ssize_t written(int pass, int fd, const char *path, const struct iovec *parts, int n, ssize_t done, int64_t offset) {
    int saved = errno;
    if (done > 0) {
        if (offset < 0) offset = syscall(SYS_lseek, fd, 0, SEEK_CUR) - done;
        note(WRITE, path, offset, parts, n, (size_t)done);
    }
    errno = saved;
    return leave(pass, done);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!kinds && journal < 0) return syscall(SYS_write, fd, data, size);
    char path[PATH_MAX];
    int pass = gate_of_write(fd, path);
    if (pass == REFUSED) return -1;
    struct iovec part = {(void *)data, size};
    return written(pass, fd, path, &part, 1, syscall(SYS_write, fd, data, size), -1);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    if (!kinds && journal < 0) return syscall(SYS_pwrite64, fd, data, size, offset);
    char path[PATH_MAX];
    int pass = gate_of_write(fd, path);
    if (pass == REFUSED) return -1;
    struct iovec part = {(void *)data, size};
    return written(pass, fd, path, &part, 1, syscall(SYS_pwrite64, fd, data, size, offset), offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int n) {
    if (!kinds && journal < 0) return syscall(SYS_writev, fd, parts, n);
    char path[PATH_MAX];
    int pass = gate_of_write(fd, path);
    if (pass == REFUSED) return -1;
    if (n > 16) n = 16; /* a short write is legal; the caller sends the rest */
    return written(pass, fd, path, parts, n, syscall(SYS_writev, fd, parts, n), -1);
}

int ftruncate64(int fd, off64_t length) {
    char path[PATH_MAX];
    int pass = gate(TRUNCATE, path_of(fd, path));
    if (pass == REFUSED) return -1;
    int result = syscall(SYS_ftruncate, fd, length);
    if (result == 0) note(TRUNCATE, path, length, NULL, 0, 0);
    return leave(pass, result);
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* ---- reads ---- */

ssize_t pread64(int fd, void *into, size_t size, off64_t offset) {
    if (!(kinds & READ)) return syscall(SYS_pread64, fd, into, size, offset);
    char path[PATH_MAX];
    int pass = gate(READ, path_of(fd, path));
    if (pass == REFUSED) return -1;
    return leave(pass, syscall(SYS_pread64, fd, into, size, offset));
}
ssize_t pread(int fd, void *into, size_t size, off_t offset) { return pread64(fd, into, size, offset); }

/* ---- syncs ---- */

static int synced(long call, int fd) {
    char path[PATH_MAX];
    int pass = gate(SYNC, path_of(fd, path));
    int64_t began = journal_length(); /* only what was written before the sync began is promised */
    if (pass == REFUSED) {
        note(SYNC_FAILED, path, began, NULL, 0, 0);
        errno = refusal;
        return -1;
    }
    int result = syscall(call, fd);
    if (result == 0) note(SYNC, path, began, NULL, 0, 0);
    return leave(pass, result);
}
int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }

/* ---- names of files ---- */

static int opened(int dir, const char *name, int flags, mode_t mode) {
    if (boot_id[0] && strcmp(name, "/proc/sys/kernel/random/boot_id") == 0) name = boot_id;
    int writes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY;
    if (!writes || (!kinds && journal < 0)) return syscall(SYS_openat, dir, name, flags, mode);
    char path[PATH_MAX];
    int pass = gate(OPEN, absolute(dir, name, path));
    if (pass == REFUSED) return -1;
    int existed = syscall(SYS_faccessat, dir, name, F_OK) == 0;
    int fd = syscall(SYS_openat, dir, name, flags, mode);
    int saved = errno;
    if (fd >= 0 && !existed) note(CREATE, path, 0, NULL, 0, 0);
    if (fd >= 0 && existed && (flags & O_TRUNC)) note(TRUNCATE, path, 0, NULL, 0, 0);
    errno = saved;
    return leave(pass, fd);
}

#define OPEN_MODE(flags, mode)                       \
    mode_t mode = 0;                                 \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {         \
        va_list rest;                                \
        va_start(rest, flags);                       \
        mode = va_arg(rest, mode_t);                 \
        va_end(rest);                                \
    }
int open(const char *name, int flags, ...) { OPEN_MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { OPEN_MODE(flags, mode) return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int dir, const char *name, int flags, ...) { OPEN_MODE(flags, mode) return opened(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { OPEN_MODE(flags, mode) return opened(dir, name, flags | O_LARGEFILE, mode); }

static int renamed(int kind, int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    absolute(to_dir, to, new);
    int pass = gate(kind, absolute(from_dir, from, old));
    if (pass == REFUSED) return -1;
    long call = kind == LINK ? SYS_linkat : SYS_renameat2;
    int result = syscall(call, from_dir, from, to_dir, to, flags);
    struct iovec part = {new, strlen(new)};
    if (result == 0) note(kind, old, 0, &part, 1, part.iov_len);
    return leave(pass, result);
}
int rename(const char *from, const char *to) { return renamed(RENAME, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(RENAME, a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned f) { return renamed(RENAME, a, from, b, to, f); }
int link(const char *from, const char *to) { return renamed(LINK, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return renamed(LINK, a, from, b, to, flags); }

int unlinkat(int dir, const char *name, int flags) {
    char path[PATH_MAX];
    int pass = flags & AT_REMOVEDIR ? GO : gate(UNLINK, absolute(dir, name, path));
    if (pass == REFUSED) return -1;
    int result = syscall(SYS_unlinkat, dir, name, flags);
    if (result == 0 && !(flags & AT_REMOVEDIR)) note(UNLINK, path, 0, NULL, 0, 0);
    return leave(pass, result);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

/* ---- messages ---- */

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    int pass = gate(SEND, "");
    return pass == REFUSED ? -1 : leave(pass, syscall(SYS_sendto, fd, data, size, flags, to, length));
}
ssize_t send(int fd, const void *data, size_t size, int flags) { return sendto(fd, data, size, flags, NULL, 0); }
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    int pass = gate(SEND, "");
    return pass == REFUSED ? -1 : leave(pass, syscall(SYS_sendmsg, fd, message, flags));
}

/* ---- waiting ---- */

/* The first thread looks late at what it waits for, and then finds all that happened meanwhile at once. */
static void come_late(void) {
    if (!late_ms || syscall(SYS_gettid) != syscall(SYS_getpid)) return;
    struct timespec left = {late_ms / 1000, late_ms % 1000 * 1000000};
    while (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &left, &left) != 0 && errno == EINTR) {}
}

int poll(struct pollfd *of, nfds_t n, int timeout_ms) {
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
    if (timeout_ms != 0) come_late();
    return syscall(SYS_ppoll, of, n, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

/* ---- the kind of file system ---- */

int statfs(const char *name, struct statfs *into) {
    char path[PATH_MAX];
    int result = syscall(SYS_statfs, name, into);
    if (result == 0 && fs_type && is_below(absolute(AT_FDCWD, name, path), fs_path)) into->f_type = fs_type;
    return result;
}
int fstatfs(int fd, struct statfs *into) {
    char path[PATH_MAX];
    int result = syscall(SYS_fstatfs, fd, into);
    if (result == 0 && fs_type && is_below(path_of(fd, path), fs_path)) into->f_type = fs_type;
    return result;
}
int statfs64(const char *name, struct statfs64 *into) { return statfs(name, (struct statfs *)into); }
int fstatfs64(int fd, struct statfs64 *into) { return fstatfs(fd, (struct statfs *)into); }

/* ---- clocks ---- */

int clock_gettime(clockid_t clock, struct timespec *into) {
    int result = syscall(SYS_clock_gettime, clock, into);
    int64_t shift = 0;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) shift = control->realtime_offset_ns;
    if (clock == CLOCK_BOOTTIME) shift = control->boottime_offset_ns;
    if (result == 0 && shift != 0) {
        int64_t ns = (int64_t)into->tv_sec * 1000000000 + into->tv_nsec + shift;
        into->tv_sec = ns / 1000000000;
        into->tv_nsec = ns % 1000000000;
    }
    return result;
}
int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    if (result == 0) *into = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return result;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
