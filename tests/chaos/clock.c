/* A library for LD_PRELOAD that sets the real-time clock of a process back or forward while it runs.
 *
 * The file named by CLOCK_OFFSET_FILE holds nanoseconds as a 64-bit integer, which are added to each reading of the
 * real-time clock; another process may change them at any time. CLOCK_MONOTONIC stays right, as it does when a real
 * clock is stepped. System calls are used because the functions of the C library are the ones that are replaced.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

static const volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("CLOCK_OFFSET_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offset = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *shown)
{
    long result = syscall(SYS_clock_gettime, clock, shown);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t stepped = shown->tv_sec * NANOSECONDS + shown->tv_nsec + *offset;
        shown->tv_sec = stepped / NANOSECONDS;
        shown->tv_nsec = stepped % NANOSECONDS;
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict shown, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    shown->tv_sec = now.tv_sec;
    shown->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *shown)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (shown)
        *shown = now.tv_sec;
    return now.tv_sec;
}
