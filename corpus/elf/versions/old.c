/* The library as it was: what the old consumer is linked against. */
int versions_value(void) { return 1; }
