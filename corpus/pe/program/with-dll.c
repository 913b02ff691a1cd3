/* A program that loads a DLL and ends as its argument says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static void last(void) { fputs("at exit\n", stdout), fflush(stdout); }

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    atexit(last);
    if (!LoadLibraryA("ending.dll"))
        return 1;
    if (!strcmp(how, "_exit"))
        _exit(2);
    if (!strcmp(how, "ExitProcess"))
        ExitProcess(3);
    if (!strcmp(how, "TerminateProcess"))
        TerminateProcess(GetCurrentProcess(), 4);
    return 5;
}
