// What libprovider.so offers.
extern int provided_numbers[4];
extern __thread int provided_thread_local;
int provided_function(int n);
