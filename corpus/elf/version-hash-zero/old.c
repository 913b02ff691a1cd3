int zero_value(void) { return 1; }
