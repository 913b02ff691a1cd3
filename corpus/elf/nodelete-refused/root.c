int nobody_has_this(void);
int root(void) { return nobody_has_this(); }
