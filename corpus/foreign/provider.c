// Defines what the other libraries import, and points at its own data.
#include "provider.h"

int provided_numbers[4] = {10, 20, 30, 40};
int *provider_pointers[3] = {&provided_numbers[1], &provided_numbers[3], 0};
static int hidden_number = 9;
int *provider_hidden = &hidden_number;

static __thread int hidden_thread_local = 8;
__thread int provided_thread_local = 7;

int provided_function(int n) { return n + hidden_number++ + hidden_thread_local++; }

// Finds thread-local variables. On a system it is the C library's; these libraries need none.
#ifdef __i386__
#define __tls_get_addr ___tls_get_addr
#endif
void *__tls_get_addr(void *module_and_offset) { return module_and_offset; }
