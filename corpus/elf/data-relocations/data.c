#include "../common.h"

extern int data_dep_value;
extern int data_dep_row[4];
const char *data_dep_word(int which);

static int own = 11;
static int twice(int a) { return 2 * a; }
static int square(int a) { return a * a; }

static const char *const words[] = {"zero", "one", "two"};
static int (*const functions[])(int) = {twice, square};
static const char *(*const imported_function)(int) = data_dep_word;
EXPORT int *data_own = &own;              /* to something of its own */
int *data_imported = &data_dep_value;     /* to something of another library */
int *data_inside = &data_dep_row[2];      /* into it, with an addend */
void *data_self = &data_self;             /* to itself */

EXPORT const char *data_word(int which) { return words[which]; }
EXPORT int data_apply(int which, int value) { return functions[which](value); }
EXPORT const char *data_dep(int which) { return imported_function(which); }
EXPORT int data_read_own(void) { return *data_own; }
EXPORT int data_read_imported(void) { return *data_imported; }
EXPORT int data_read_inside(void) { return *data_inside; }
EXPORT _Bool data_is_self(void) { return data_self == &data_self; }
EXPORT int data_bump(void) { return ++*data_imported; }
