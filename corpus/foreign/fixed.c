// Thread-local variables at a fixed distance from the thread pointer (the initial-exec model).
#include "provider.h"

static __thread int own_thread_local __attribute__((tls_model("initial-exec"))) = 5;
extern __thread int provided_thread_local __attribute__((tls_model("initial-exec")));

int *fixed_own(void) { return &own_thread_local; }
int *fixed_provided(void) { return &provided_thread_local; }
