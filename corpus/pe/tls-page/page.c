#include "../common.h"
#include "../tls.h"

TLS int before = 3;
TLS char page[4096] __attribute__((aligned(4096))) = {5};
TLS int after = 7;

/* 4096-byte alignment is 13 in bits 20 to 23. */
TLS_DIRECTORY(0, 8192, 13 << 20)
SILENT

EXPORT _Bool page_aligned(void) { return (unsigned long long)*TLS_HERE(page) % 4096 == 0; }
EXPORT int page_sum(void) { return *TLS_HERE(before) + **TLS_HERE(page) + *TLS_HERE(after); }
EXPORT int page_fill(int with)
{
    char *zeros = tls_block() + (&tls_template_end - &tls_template_start);
    int sum = 0;
    for (int i = 0; i < 8192; i++)
        sum += zeros[i] != 0, zeros[i] = (char)with;
    **TLS_HERE(page) = (char)with;
    return sum;
}
