int who(void);
int need_who(void) { return NUMBER; }
int need_sees(void) { return who(); }
