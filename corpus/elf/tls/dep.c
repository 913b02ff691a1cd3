#include "../common.h"

EXPORT __thread int tls_dep_level = 100;
EXPORT int tls_dep_read(void) { return tls_dep_level; }
