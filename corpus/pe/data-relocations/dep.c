#include "../common.h"

EXPORT int data_dep_value = 7;
EXPORT int data_dep_row[4] = {10, 20, 30, 40};

static const char *const words[] = {"null", "eins", "zwei"};
SILENT
EXPORT const char *data_dep_word(int which) { return words[which]; }
EXPORT int data_dep_read(void) { return data_dep_value; }
