#include "../common.h"
#include "../tls.h"

TLS int zero = 0;
TLS int start = 40;
TLS char buffer[100] __attribute__((aligned(64))) = {0};

/* 64-byte alignment is 7 in bits 20 to 23; 16 zero bytes follow the template. */
TLS_DIRECTORY(0, 16, 7 << 20)
SILENT

EXPORT int tls_next(void) { return ++*TLS_HERE(zero); }
EXPORT int tls_from_start(void) { return ++*TLS_HERE(start); }
EXPORT _Bool tls_aligned(void) { return (unsigned long long)TLS_HERE(buffer) % 64 == 0; }
EXPORT int tls_fill(int with)
{
    char *here = *TLS_HERE(buffer);
    int sum = 0;
    for (unsigned i = 0; i < sizeof buffer; i++)
        sum += here[i], here[i] = (char)with;
    return sum;
}
EXPORT _Bool tls_tail_is_zero(void)
{
    const char *tail = tls_block() + (&tls_template_end - &tls_template_start);
    for (int i = 0; i < 16; i++)
        if (tail[i])
            return 0;
    return 1;
}
EXPORT _Bool tls_index_set(void) { return *(volatile unsigned *)&_tls_index != 0x5eed; }
