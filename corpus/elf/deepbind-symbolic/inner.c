/* With -Bsymbolic the linker leaves a reference to an own function to the loader only where a resolver says where it is. */
static int own(void) { return NUMBER; }
static int (*which(void))(void) { return own; }
int who(void) __attribute__((ifunc("which")));
int inner_sees(void) { return who(); }
