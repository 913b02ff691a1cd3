/* A console program: arguments, environment, standard input and output, what runs at exit, an exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void last(void) { puts("at exit"); }

int main(int argc, char **argv)
{
    int a, b;
    const char *name = getenv("WHO");
    atexit(last);
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    printf("hello %s\n", name ? name : "nobody");
    if (scanf("%d %d", &a, &b) == 2)
        printf("%d\n", a + b);
    fprintf(stderr, "an error\n");
    return argc + 40;
}
