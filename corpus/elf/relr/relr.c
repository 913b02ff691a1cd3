/* Many pointers in a row, with gaps: enough for several bitmaps. */
#include "../common.h"

static int cells[200];

#define POINT4(n) &cells[n], &cells[n + 1], &cells[n + 2], &cells[n + 3]
#define POINT20(n) POINT4(n), POINT4(n + 4), POINT4(n + 8), POINT4(n + 12), POINT4(n + 16)
#define POINT100(n) POINT20(n), POINT20(n + 20), POINT20(n + 40), POINT20(n + 60), POINT20(n + 80)

static int *const row[200] = {POINT100(0), POINT100(100)};
static struct { long number; int *cell; } pairs[] = {{1, &cells[1]}, {2, &cells[2]}, {3, &cells[3]}, {4, &cells[4]}};
static long apart[100];
static int *lonely = &cells[77];

EXPORT int relr_check(void)
{
    int right = 0;
    for (int i = 0; i < 200; i++)
        right += ((int *const volatile *)row)[i] == &cells[i];
    for (int i = 0; i < 4; i++)
        right += *(int *volatile *)&pairs[i].cell == &cells[pairs[i].number];
    apart[right % 100]++;
    return right + (*(int *volatile *)&lonely == &cells[77]);
}
