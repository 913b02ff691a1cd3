/* What differs from run to run: addresses, time, random numbers. */
#include "../common.h"
#include <stdbool.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

static u64 nanoseconds(clockid_t clock)
{
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : now.tv_sec * 1000000000ull + now.tv_nsec;
}

EXPORT u64 chance_code(void) { return (u64)&chance_code; }
EXPORT u64 chance_stack(void) { return (u64)__builtin_frame_address(0); }
EXPORT u64 chance_heap(void) { return (u64)malloc(1000); }
EXPORT u64 chance_pages(void) { return (u64)malloc(1 << 20); }
EXPORT u64 chance_date(void) { return nanoseconds(CLOCK_REALTIME); }
EXPORT u64 chance_uptime(void) { return nanoseconds(CLOCK_MONOTONIC); }
EXPORT u64 chance_used(void) { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID); }
EXPORT u64 chance_seconds(void) { return time(0); }
EXPORT u64 chance_clock(void) { return clock(); }

EXPORT u64 chance_day(void)
{
    struct timeval now;
    return gettimeofday(&now, 0) ? 0 : now.tv_sec * 1000000ull + now.tv_usec;
}

EXPORT u64 chance_random(void)
{
    u64 word = 0;
    return getrandom(&word, sizeof word, 0) == sizeof word ? word : 0;
}

EXPORT u64 chance_entropy(void)
{
    u64 word = 0;
    return getentropy(&word, sizeof word) ? 0 : word;
}

/* What compilers compare with before a function returns. */
EXPORT u64 chance_guard(void)
{
    u64 word;
    __asm__ volatile("mov %%fs:0x28, %0" : "=r"(word));
    return word;
}

/* What the kernel gave the process for the like. */
EXPORT u64 chance_start(void) { return ((const u64 *)getauxval(AT_RANDOM))[1]; }

EXPORT bool chance_differs(void) { return chance_random() != chance_random() && chance_uptime() <= chance_uptime(); }

/* Time passes while one sleeps. */
EXPORT bool chance_passes(void)
{
    u64 before = chance_uptime(), date = chance_date();
    const struct timespec little = {0, 3000000};
    return !nanosleep(&little, 0) && !usleep(2000) && chance_uptime() - before >= 5000000 && chance_date() - date >= 4000000;
}
