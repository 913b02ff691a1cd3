/* The library as it will be: its new function is not there yet. */
int versions_value(void) { return 3; }
