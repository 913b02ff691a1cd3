#include "../common.h"

#define GLUE(a, b) a##b
#define EXPORTED(name) GLUE(exit_order_, name)
#define TEXT2(name) #name
#define TEXT(name) TEXT2(name)

/* The later destructor of a file runs first; DT_FINI is the very last. */
__attribute__((destructor(200))) static void second(void) { LOG(TEXT(NAME) " destructor 200"); }
__attribute__((destructor(300))) static void first(void) { LOG(TEXT(NAME) " destructor 300"); }
HIDDEN void last(void) { LOG(TEXT(NAME) " DT_FINI"); }

#ifdef NEEDS
int EXPORTED(NEEDS)(void);
EXPORT int EXPORTED(NAME)(void) { return EXPORTED(NEEDS)() + 1; }
#else
EXPORT int EXPORTED(NAME)(void) { return 1; }
#endif
