#include "../common.h"

__attribute__((constructor)) static void plain_two(void) { LOG("constructor of the second file"); }
__attribute__((destructor)) static void plain_end(void) { LOG("destructor of the second file"); }
