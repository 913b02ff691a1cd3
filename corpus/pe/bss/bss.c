#include "../common.h"

EXPORT char bss_data[3] = {1, 2, 3};
static char tail[3000];
static int large[300000];              /* pages that are in no file at all */

SILENT
EXPORT int bss_sum(void)
{
    int sum = 0;
    for (unsigned i = 0; i < sizeof bss_data; i++)
        sum += bss_data[i];
    for (unsigned i = 0; i < sizeof tail; i++)
        sum += tail[i];
    for (unsigned i = 0; i < sizeof large / sizeof *large; i++)
        sum += large[i];
    return sum;
}
EXPORT int bss_fill(void)
{
    for (unsigned i = 0; i < sizeof tail; i++)
        tail[i] = 1;
    for (unsigned i = 0; i < sizeof large / sizeof *large; i++)
        large[i] = 1;
    return bss_sum();
}
