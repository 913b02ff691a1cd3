int order_who(void) { return WHO; }
