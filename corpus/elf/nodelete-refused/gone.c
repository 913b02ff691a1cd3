/* Not there when it is needed. */
int gone(void) { return 0; }
