#include "../common.h"
#include <unistd.h>
#include <sys/wait.h>

EXPORT int fork_twice(void)
{
    int sum = 0;
    for (int i = 0; i < 2; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(4);
        waitpid(child, &status, 0);
        sum += WEXITSTATUS(status);
    }
    return sum;
}
