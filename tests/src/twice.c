/* What the tests with debuggers look at; they know the lines by number. */
__attribute__((constructor)) static void starts(void)
{
    volatile int early = 7;
    early++; /* line 5 */
}

int twice(int n)
{
    int doubled = 2 * n;
    return doubled; /* line 11 */
}
