#include "../common.h"

SILENT
static int cell = 5;
EXPORT int *stripped_pointer = &cell;
EXPORT int stripped_value(void) { return *stripped_pointer; }
