#include "../common.h"

IMPORT int forward_end(int a);
IMPORT int middle_own(void);

SILENT
EXPORT int forwarder_own(void) { return forward_end(1) + middle_own(); }
