/* An initialiser receives (argc, argv, envp), those of the process. The kernel's own record of the command line tells
   how many arguments there are and how the first one reads. */
#include "../common.h"

int open(const char *path, int flags, ...);
int close(int file);
long read(int file, void *bytes, unsigned long length);
char *getenv(const char *name);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, unsigned long length);

static char page[4096];

static int arguments_of_process(void)
{
    int file = open("/proc/self/cmdline", 0), ends = 0;
    long got, first = 1;
    static char more[4096];
    while ((got = read(file, first ? page : more, sizeof page)) > 0) {
        for (long i = 0; i < got; i++)
            ends += !(first ? page : more)[i];
        first = 0;
    }
    close(file);
    return ends;
}

static int has_path(char **envp)
{
    const char *path = getenv("PATH");
    for (; *envp; envp++)
        if (path && !strncmp(*envp, "PATH=", 5) && !strcmp(*envp + 5, path))
            return 1;
    return !path;
}

__attribute__((constructor)) static void born(int argc, char **argv, char **envp)
{
    if (argc == arguments_of_process())
        LOG("argc");
    if (!argv[argc] && !strncmp(argv[0], page, sizeof page - 1))
        LOG("argv");
    if (has_path(envp))
        LOG("envp");
}
