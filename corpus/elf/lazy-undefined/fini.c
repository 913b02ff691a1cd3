#include "../common.h"

void lazy_nowhere(void);

__attribute__((destructor)) static void goes(void) { lazy_nowhere(); }
