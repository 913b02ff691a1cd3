/* Enough names that buckets are shared and chains have more than one link. */
#include "../common.h"

#define PREFIX hashed_
#define GLUE(a, b) a##b
#define EXPORTED(prefix, n) EXPORT int GLUE(prefix, n)(void) { return n; }
EXPORTED(PREFIX, 0) EXPORTED(PREFIX, 1) EXPORTED(PREFIX, 2) EXPORTED(PREFIX, 3)
EXPORTED(PREFIX, 4) EXPORTED(PREFIX, 5) EXPORTED(PREFIX, 6) EXPORTED(PREFIX, 7)
EXPORTED(PREFIX, 8) EXPORTED(PREFIX, 9) EXPORTED(PREFIX, 10) EXPORTED(PREFIX, 11)
EXPORTED(PREFIX, 12) EXPORTED(PREFIX, 13) EXPORTED(PREFIX, 14) EXPORTED(PREFIX, 15)
EXPORTED(PREFIX, 16) EXPORTED(PREFIX, 17) EXPORTED(PREFIX, 18) EXPORTED(PREFIX, 19)

/* Longer than the hash is wide. */
EXPORT int hashed_name_that_is_much_longer_than_the_hash_itself(void) { return 20; }
