/* Another time of day for one process: preloaded into it, this library adds an offset to the wall clock that it reads.
 * The offset, in nanoseconds, stands in a file that the test writes and the process has mapped, so it moves while the
 * process runs. Clocks that only count (CLOCK_MONOTONIC, CLOCK_BOOTTIME) stay true: they drive timers and sleeps.
 *
 * It calls the kernel directly (no malloc, no dlsym), so it is safe in a server with an allocator of its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;

static _Atomic int64_t none, *offset = &none;

__attribute__((constructor)) static void configure(void) {
    const char *path = getenv("FLOWLOCK_CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int refused = syscall(SYS_clock_gettime, clock, now);
    if (refused || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return refused;
    int64_t moved = now->tv_sec * SECOND + now->tv_nsec + atomic_load(offset);
    now->tv_sec = moved / SECOND;
    now->tv_nsec = moved % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (!now) return 0;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (into) *into = exact.tv_sec;
    return exact.tv_sec;
}
