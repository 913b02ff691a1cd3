#include "../common.h"

extern int undefined_data_nobody_has;
EXPORT int *undefined_pointer = &undefined_data_nobody_has;
LIFE("never")
