#include "../common.h"

IMPORT int sections_imported(void);

EXPORT int sections_cell = 3;
EXPORT const int sections_constant = 4;
EXPORT int *const sections_table[2] = {&sections_cell, 0};
EXPORT int sections_zero[2];

SILENT
EXPORT int sections_read(void) { return *sections_table[0] + sections_constant; }
EXPORT int sections_import(void) { return sections_imported(); }
