/* A TLS directory by hand, as a compiler that knows thread-local storage lays it out: the linker finds `_tls_used`, the
   loader fills `_tls_index` and copies the template for every thread. Sections sort by what follows the `$`. */
#ifndef TLS_H
#define TLS_H

typedef void __attribute__((ms_abi)) tls_callback(void *image, unsigned reason, void *reserved);

struct tls_directory {
    const void *template_start, *template_end;
    unsigned *index;
    tls_callback *const *callbacks;
    unsigned zero_fill, characteristics;
};

#define TLS __attribute__((section(".tls$M")))

static char tls_template_start __attribute__((section(".tls$A"), aligned(16))) = 0;
static char tls_template_end __attribute__((section(".tls$Z"))) = 0;
static unsigned _tls_index = 0x5eed;

/* The calling thread's copy of a variable that is marked TLS. */
#define TLS_HERE(variable)                                                         \
    ((__typeof__(variable) *)(tls_block() + ((char *)&(variable) - &tls_template_start)))

static inline char *tls_block(void)
{
    char **blocks;
    __asm__("movq %%gs:0x58, %0" : "=r"(blocks));
    return blocks[*(volatile unsigned *)&_tls_index];
}

#define TLS_DIRECTORY(callback_array, zeroes, alignment)                           \
    __attribute__((section(".rdata$T"), used)) const struct tls_directory _tls_used = { \
        &tls_template_start, &tls_template_end, &_tls_index, callback_array, zeroes, alignment};

#endif
