// Imports a function, data and a thread-local variable of libprovider.so in every way that needs a fixup of its own.
#include "provider.h"

extern int nobody_has_this(void) __attribute__((weak));

static int own_numbers[2] = {1, 2};
static __thread int own_thread_local = 3;

int *user_own = &own_numbers[1];               // an address in the library itself
int *user_number = &provided_numbers[2];       // an address elsewhere, and something added to it
int (*user_function)(int) = provided_function; // a function's address
int (*user_missing)(void) = nobody_has_this;   // a weak symbol that nobody defines

int user_sum(int n) {
    return provided_function(n)                        // the procedure linkage table
        + provided_numbers[0]                          // the global offset table
        + provided_thread_local + own_thread_local++   // module and offset in the module's block
        + (nobody_has_this ? 1 : 0);
}
