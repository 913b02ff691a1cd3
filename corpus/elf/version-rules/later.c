/* The library as some later one might be: everything has a version. */
int base(void) { return 0; }
