unsigned long strlen(const char *);
int only_first(void);
int need_who(void);
int who(void) { return 2; }
int deep_who(void) { return who(); }
int deep_need_who(void) { return need_who() == 3 ? 2 : need_who(); }
int deep_only_first(void) { return only_first(); }
int deep_length(const char *text) { return (int)strlen(text); }
