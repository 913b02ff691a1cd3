int order_who(void);
int first(void) { return order_who(); }
