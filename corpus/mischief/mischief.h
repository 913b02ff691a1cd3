/* The mischief that is the same in both formats. Every function says what became of it: a system call's own answer (below
   zero: refused), or nothing, where it never comes back. */
#include "raw.h"

typedef i64 (*Function)(void);

/* The same address, of which the compiler knows nothing. */
static inline void *hidden(const void *at)
{
    __asm__ volatile("" : "+r"(at));
    return (void *)at;
}

/* No end, and busy all the time. */
EXPORT void spins(void)
{
    for (;;)
        __asm__ volatile("");
}

/* No end, and idle: no processor time is used up. */
EXPORT void sleeps(void)
{
    static const i64 hour[2] = {3600, 0};
    for (;;)
        RAW3(RAW_NANOSLEEP, hour, 0, 0);
}

/* What the input says, for those who have many cases of one function: memory, time, sleep, or nothing. */
EXPORT i64 eats_memory(void);
EXPORT i64 takes(const char *what)
{
    switch (*what) {
    case 'm':
        return eats_memory();
    case 't':
        spins();
    case 's':
        sleeps();
    }
    return 0;
}

EXPORT i64 calls_null(void)
{
    Function volatile nowhere = 0;
    return nowhere() + 1;
}

/* Frames shorter than a page, so that no guard page is stepped over. */
EXPORT i64 fills_stack(i64 depth)
{
    volatile char frame[PAGE / 2];
    frame[0] = (char)depth;
    return fills_stack(depth + 1) + frame[0];
}

/* Processes that make processes, by the instruction itself; says how the system refuses the last. */
EXPORT i64 raw_forks(void)
{
    i64 child;
    while ((child = RAW3(RAW_FORK, 0, 0, 0)) >= 0)
        ;
    return child;
}

/* A process that leaves its parent's group and session, and stays. */
EXPORT i64 leaves_a_process(void)
{
    i64 child = RAW3(RAW_FORK, 0, 0, 0);
    if (child == 0) {
        RAW3(RAW_SETSID, 0, 0, 0);
        sleeps();
    }
    return child;
}

EXPORT i64 raw_opens(const char *path) { return raw(RAW_OPENAT, (u64)(i64)AT_FDCWD_, POINTER(path), 0, 0, 0, 0); }
EXPORT i64 raw_socket(void) { return RAW3(RAW_SOCKET, 2, 1, 0); }
EXPORT i64 raw_exits(void) { return RAW3(RAW_EXIT_GROUP, 0, 0, 0); }
EXPORT i64 kills_parent(void) { return RAW3(RAW_KILL, RAW3(RAW_GETPPID, 0, 0, 0), SIGKILL_, 0); }
EXPORT i64 kills_itself(void) { return RAW3(RAW_KILL, RAW3(RAW_GETPID, 0, 0, 0), SIGKILL_, 0); }

/* Every descriptor but the standard ones; then all of them. */
EXPORT i64 closes_descriptors(void) { return RAW3(RAW_CLOSE_RANGE, 3, 0xffffffffu, 0); }
EXPORT i64 closes_everything(void) { return RAW3(RAW_CLOSE_RANGE, 0, 0xffffffffu, 0); }

EXPORT i64 starts_a_shell(void)
{
    static const char *const arguments[] = {"sh", "-c", "exit 0", 0};
    return RAW3(RAW_EXECVE, "/bin/sh", arguments, 0);
}

/* A page of code that can be written to as well. */
EXPORT i64 opens_its_code(void)
{
    return RAW3(RAW_MPROTECT, POINTER(spins) & ~(u64)(PAGE - 1), PAGE, 7);
}

/* A word of the parent's memory. */
EXPORT i64 reads_parent(void)
{
    u64 word = 0, here[2] = {POINTER(&word), sizeof word}, there[2] = {POINTER(&word), sizeof word};
    return raw(RAW_PROCESS_VM_READV, (u64)RAW3(RAW_GETPPID, 0, 0, 0), POINTER(here), 1, POINTER(there), 1, 0);
}
