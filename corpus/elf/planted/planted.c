#include "../common.h"
#include "planted.h"

static int calls;

/* What fuzzers call, and a state that outlives a call: how many there were. */
EXPORT int planted_check(const unsigned char *bytes, unsigned long long length) { return calls++, planted(bytes, length); }
EXPORT int planted_calls(void) { return calls; }
