/* What the other library had when nothing had moved. */
int elsewhere(void) { return 0; }
