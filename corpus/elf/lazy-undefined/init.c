#include "../common.h"

void lazy_nowhere(void);

__attribute__((constructor)) static void comes(void) { lazy_nowhere(); }
