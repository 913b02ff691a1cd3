#include "../common.h"

EXPORT __thread int descriptor_level = 100;
EXPORT int descriptor_dep_read(void) { return descriptor_level; }
