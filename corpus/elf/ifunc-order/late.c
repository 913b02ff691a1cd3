#include "../common.h"

int base(void);

/* Its resolver calls another indirect function through this library's own table. */
static int forty_two(void) { return 42; }
static int wrong(void) { return -1; }
static int (*late_resolver(void))(void) { return base() == 6 ? forty_two : wrong; }
EXPORT int late(void) __attribute__((ifunc("late_resolver")));

/* Nobody else can see this one: its places have no name. */
static int seven(void) { return 7; }
static int (*private_resolver(void))(void) { return base() == 6 ? seven : wrong; }
HIDDEN int private_function(void) __attribute__((ifunc("private_resolver")));
EXPORT int late_private(void) { return private_function(); }
