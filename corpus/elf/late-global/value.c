#include "../common.h"

LIFE("value")
int late_need(void);
EXPORT int late_value(void) { return late_need() - 1; }
