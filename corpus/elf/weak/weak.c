#include "../common.h"

__attribute__((weak)) int weak_nobody_has_this(void);
__attribute__((weak)) extern int weak_data_nobody_has;
__attribute__((weak)) int weak_in_dependency(void);
int weak_defined_here(void), weak_first_wins(void);

EXPORT _Bool weak_function_is_null(void) { return !weak_nobody_has_this; }
EXPORT _Bool weak_data_is_null(void) { return !&weak_data_nobody_has; }
EXPORT int weak_found(void) { return weak_in_dependency ? weak_in_dependency() : -1; }
EXPORT int weak_definition(void) { return weak_defined_here(); }
EXPORT int weak_order(void) { return weak_first_wins(); }
