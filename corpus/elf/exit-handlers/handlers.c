#include "../common.h"
#include <stdlib.h>
#include <unistd.h>
#include <sys/wait.h>
#include <pthread.h>

LIFE("handlers")

static void third(void) { LOG("third"); }
static void second(void)
{
    LOG("second");
    atexit(third);
}
static void first(void) { LOG("first"); }
static void never(void) { LOG("at a quick exit"); }

EXPORT int leave_handlers(void) { return atexit(first) | atexit(second) | at_quick_exit(never); }

static void prepare(void) { LOG("prepare"); }
static void parent(void) { LOG("parent"); }

EXPORT int leave_fork_handlers(void) { return pthread_atfork(prepare, parent, 0); }
static pthread_key_t key;

static void destroy(void *value)
{
    if (value == &key)
        LOG("value destroyed");
}

EXPORT int leave_value(void)
{
    return pthread_key_create(&key, destroy) | pthread_setspecific(key, &key);
}

EXPORT int fork_once(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}
