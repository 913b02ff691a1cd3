#include "../common.h"

int versions_value(void);
EXPORT int consumer_value(void) { return versions_value(); }
