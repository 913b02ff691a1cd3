/* Mischief before anybody calls anything: in the constructor. */
#define EXPORT static __attribute__((unused))
#include "../mischief.h"

#include <stdlib.h>

static void exits(void) { exit(7); }
static void faults(void) { calls_null(); }

__attribute__((constructor)) static void born(void) { BORN(); }
