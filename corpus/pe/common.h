/* What the PE cases share. A line of log goes to tlog.dll, which the runner offers; it takes text without a newline. */
#ifndef COMMON_H
#define COMMON_H

#define EXPORT __declspec(dllexport)
#define IMPORT __declspec(dllimport)

enum { PROCESS_DETACH, PROCESS_ATTACH, THREAD_ATTACH, THREAD_DETACH };

IMPORT void tlog(const char *line);
int DllMain(void *image, unsigned reason, void *reserved);

/* An entry point that has nothing to say. */
#define SILENT                                                        \
    int DllMain(void *image, unsigned reason, void *reserved)         \
    {                                                                 \
        (void)image, (void)reason, (void)reserved;                    \
        return 1;                                                     \
    }

/* A library that logs its first and its last breath. */
#define LIFE(name)                                                    \
    int DllMain(void *image, unsigned reason, void *reserved)         \
    {                                                                 \
        (void)image, (void)reserved;                                  \
        if (reason == PROCESS_ATTACH)                                 \
            tlog("attach " name);                                     \
        if (reason == PROCESS_DETACH)                                 \
            tlog("detach " name);                                     \
        return 1;                                                     \
    }

#endif
