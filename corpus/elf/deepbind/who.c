int who(void) { return NUMBER; }
int need_who(void) { return NUMBER; }
int only_first(void) { return NUMBER * 10; }
