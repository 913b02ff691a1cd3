#include "../common.h"

int interposed(void), only_marked(void);

EXPORT int user_sees(void) { return interposed() * 10 + only_marked(); }
