#include "../common.h"

long write(int file, const void *bytes, unsigned long length);

EXPORT int relro_cell = 3;
EXPORT const int relro_constant = 4;
EXPORT int *const relro_table[2] = {&relro_cell, 0};
EXPORT int relro_zero[2];

EXPORT int relro_read(void) { return *relro_table[0] + relro_constant; }
EXPORT long relro_import(void) { return write(-1, "", 0); }
