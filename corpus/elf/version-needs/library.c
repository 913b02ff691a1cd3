int needs_one(void) { return 1; }
int needs_extra(void) { return 2; }
