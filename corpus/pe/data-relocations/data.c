#include "../common.h"

IMPORT extern int data_dep_value;
IMPORT extern int data_dep_row[4];
IMPORT const char *data_dep_word(int which);

static int own = 11;
static int twice(int a) { return 2 * a; }
static int square(int a) { return a * a; }

static const char *const words[] = {"zero", "one", "two"};
static int (*const functions[])(int) = {twice, square};
EXPORT int *data_own = &own;              /* to something of its own */
void *data_self = &data_self;             /* to itself */

SILENT
EXPORT const char *data_word(int which) { return words[which]; }
EXPORT int data_apply(int which, int value) { return functions[which](value); }
EXPORT const char *data_dep(int which) { return data_dep_word(which); }
EXPORT int data_read_own(void) { return *data_own; }
EXPORT int data_read_imported(void) { return data_dep_value; }
EXPORT int data_read_inside(void) { return data_dep_row[2]; }
EXPORT _Bool data_is_self(void) { return *(void *volatile *)&data_self == &data_self; }
EXPORT int data_bump(void) { return ++data_dep_value; }
