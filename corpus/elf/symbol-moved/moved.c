#ifdef GONE
/* The old library keeps the version, for files that need it, and has nothing of it any more. */
int moved_left(void) { return 1; }
#else
int moved_value(void) { return 7; }
#endif
