int missing_gone(void) { return 1; }
