#include "../common.h"

/* DT_INIT and DT_FINI, by the linker's -init and -fini. */
HIDDEN void order_init(void) { LOG("DT_INIT"); }
HIDDEN void order_fini(void) { LOG("DT_FINI"); }

__attribute__((constructor)) static void plain_one(void) { LOG("constructor of the first file"); }
__attribute__((constructor(300))) static void late(void) { LOG("constructor 300"); }
__attribute__((constructor(200))) static void early(void) { LOG("constructor 200"); }
__attribute__((destructor(200))) static void last(void) { LOG("destructor 200"); }
__attribute__((destructor(300))) static void second_last(void) { LOG("destructor 300"); }
