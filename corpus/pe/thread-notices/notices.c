/* Counts what its entry point is told, and makes threads that it waits for: one that returns, one that says ExitThread. */
#include "../common.h"

typedef unsigned Start(void *argument);
IMPORT void *CreateThread(void *security, unsigned long long stack, Start *start, void *argument, unsigned flags, void *id);
IMPORT void ExitThread(unsigned code);
IMPORT unsigned WaitForSingleObject(void *handle, unsigned ms);
IMPORT int GetExitCodeThread(void *handle, unsigned *code);
IMPORT int CloseHandle(void *handle);

static int told[4];

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason < 4)
        __atomic_fetch_add(&told[reason], 1, __ATOMIC_SEQ_CST);
    return 1;
}

EXPORT int notices_told(unsigned reason) { return __atomic_load_n(&told[reason & 3], __ATOMIC_SEQ_CST); }

static unsigned twice(void *argument) { return 2 * (unsigned)(unsigned long long)argument; }
static unsigned leave(void *argument)
{
    ExitThread(twice(argument));
    return 0;
}

/* What a thread makes of a number; -1 where that goes wrong. */
static int ask(Start *start, unsigned number)
{
    unsigned code = 0;
    void *thread = CreateThread(0, 0, start, (void *)(unsigned long long)number, 0, 0);
    if (!thread || WaitForSingleObject(thread, 0xffffffff) != 0 || !GetExitCodeThread(thread, &code) || !CloseHandle(thread))
        return -1;
    return (int)code;
}

EXPORT int notices_return(unsigned number) { return ask(twice, number); }
EXPORT int notices_exit(unsigned number) { return ask(leave, number); }
