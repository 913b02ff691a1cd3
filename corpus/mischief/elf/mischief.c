#define EXPORT __attribute__((visibility("default")))
#include "../mischief.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static i64 answer(i64 result) { return result < 0 ? -errno : result; }

/* A table that relocation fills and RELRO seals. */
static int target;
static int *const sealed[] = {&target};

/* Memory that is used, until there is no more; says how many MiB there were. */
EXPORT i64 eats_memory(void)
{
    i64 eaten = 0;
    char *more;
    while ((more = malloc(MIB)))
        memset(more, ++eaten & 0xff, MIB);
    return eaten;
}

EXPORT i64 forks(void)
{
    while (fork() >= 0)
        ;
    return -errno;
}

static void *idles(void *nothing)
{
    sleeps();
    return nothing;
}

/* Threads until there are no more. Says how it was refused. */
EXPORT i64 starts_threads(void)
{
    pthread_t thread;
    int refused;
    while (!(refused = pthread_create(&thread, 0, idles, 0)))
        ;
    return -refused;
}

EXPORT void writes_sealed(void) { *(int *volatile *)hidden(sealed) = 0; }
EXPORT void exits(void) { exit(7); }
EXPORT void aborts(void) { abort(); }

static void looks_well(int number) { _exit(number & 0); }
static void comes_back(int number) { (void)number; }

static void handles(void (*handler)(int))
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGTERM, SIGALRM, SIGXCPU, SIGSYS};
    struct sigaction action = {.sa_handler = handler};
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        sigaction(faults[i], &action, 0);
}

/* A fault after which the process seems to have ended well; one that is handled for ever; one that is ignored. */
EXPORT i64 faults_and_looks_well(void) { return handles(looks_well), calls_null(); }
EXPORT i64 faults_for_ever(void) { return handles(comes_back), calls_null(); }
EXPORT i64 faults_ignored(void) { return handles(SIG_IGN), calls_null(); }

/* Nothing polite ends this one. */
/* A thread that asks for what is refused, again and again, whoever waits; and how often it was answered. */
static volatile i64 answers;

static void *asks(void *nothing)
{
    static const i64 millisecond[2] = {0, 1000000};
    for (;; answers++) {
        raw_socket();
        RAW3(RAW_NANOSLEEP, millisecond, 0, 0);
    }
    return nothing;
}

EXPORT i64 asks_in_a_thread(void)
{
    pthread_t thread;
    return -pthread_create(&thread, 0, asks, 0);
}

EXPORT i64 times_answered(void) { return answers; }

EXPORT void spins_without_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, 0);
    spins();
}

EXPORT i64 reads_file(const char *path) { return answer(open(path, O_RDONLY)); }
EXPORT i64 writes_file(const char *path) { return answer(open(path, O_WRONLY | O_CREAT, 0600)); }
EXPORT i64 opens_socket(void) { return answer(socket(AF_INET, SOCK_STREAM, 0)); }

/* Lines without end. */
EXPORT i64 prints(void)
{
    static char text[65536];
    memset(text, 'x', sizeof text);
    for (unsigned i = 99; i < sizeof text; i += 100)
        text[i] = '\n';
    while (write(1, text, sizeof text) > 0)
        ;
    return -errno;
}

/* What lies before and behind a block of the allocator's is overwritten, then used. */
EXPORT i64 breaks_heap(void)
{
    char *block = hidden(malloc(24));
    volatile char *header = block - 16; /* no further: behind it is whatever the loader has there */
    for (unsigned i = 0; i < 16; i++)
        header[i] = 0x41;
    free(block);
    for (unsigned i = 1; i < 64; i++)
        free(hidden(malloc(i * 24)));
    return 0;
}
