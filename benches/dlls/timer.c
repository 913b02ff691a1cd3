/* Times Windows' loader from within: commands come on standard input, nanoseconds go to standard output.
   open N: LoadLibrary and FreeLibrary of the DLL, N times. again N: the same while it is loaded.
   proc N: GetProcAddress of one name after another. */
#include <stdio.h>
#include <windows.h>

static LONGLONG now(void)
{
    LARGE_INTEGER count;
    QueryPerformanceCounter(&count);
    return count.QuadPart;
}

int main(int argc, char **argv)
{
    char what[16], name[16];
    long n;
    LARGE_INTEGER frequency;
    if (argc != 3 || !QueryPerformanceFrequency(&frequency))
        return 2;
    if (*argv[2] && !LoadLibraryA(argv[2])) /* what the DLL needs, and is not measured */
        return 3;
    while (scanf("%15s %ld", what, &n) == 2) {
        HMODULE held = *what == 'o' ? 0 : LoadLibraryA(argv[1]);
        LONGLONG start = now();
        for (long i = 0; i < n; i++) {
            if (*what == 'p') {
                snprintf(name, sizeof name, "export_%03ld", i * 7 % 500);
                if (!GetProcAddress(held, name))
                    return 4;
            } else if (!FreeLibrary(LoadLibraryA(argv[1]))) {
                return 5;
            }
        }
        printf("%.0f\n", (now() - start) * 1e9 / frequency.QuadPart);
        fflush(stdout);
        if (held)
            FreeLibrary(held);
    }
    return 0;
}
