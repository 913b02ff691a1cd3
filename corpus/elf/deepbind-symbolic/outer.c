int who(void) { return NUMBER; }
