/* fprintf comes from the compiler's library here, not from msvcrt: it locks the stream, writes letter by letter, unlocks. */
#include <stdio.h>

__declspec(dllexport) int formatted(void)
{
    char line[20] = "";
    FILE *file = tmpfile();
    if (!file)
        return __LINE__;
    if (fprintf(file, "%d and %s", 40 + 2, "more") != 11)
        return __LINE__;
    rewind(file);
    if (!fgets(line, sizeof line, file) || line[0] != '4' || line[10] != 'e' || line[11])
        return __LINE__;
    return fclose(file);
}

/* The standard ones lie side by side, and are locked by number. */
__declspec(dllexport) int standard(void)
{
    return fprintf(stderr, "%s", "") == 0 && stdout - stdin == 1 && stderr - stdin == 2 ? 0 : __LINE__;
}
