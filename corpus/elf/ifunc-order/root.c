int root_is_here(void) { return 1; }
