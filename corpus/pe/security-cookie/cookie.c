#include "../common.h"

typedef unsigned long long u64;

u64 __security_cookie = 0x00002B992DDFA232;

/* The load configuration, as far as the cookie (offset 88). It has a section of its own, for `$DIRECTORY`. */
__attribute__((section(".ldcfg"), used)) static struct {
    unsigned size, before[21];
    u64 *cookie, se_handler_table, se_handler_count;
} configuration = {sizeof configuration, {0}, &__security_cookie, 0, 0};

/* By the time that DllMain runs the cookie must have changed; a cookie has its upper 16 bits clear. */
static u64 at_attach;
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reserved;
    if (reason == PROCESS_ATTACH)
        at_attach = *(volatile u64 *)&__security_cookie;
    return 1;
}
EXPORT _Bool cookie_changed(void) { return at_attach != 0x00002B992DDFA232; }
EXPORT _Bool cookie_kept(void) { return at_attach == *(volatile u64 *)&__security_cookie; }
EXPORT _Bool cookie_narrow(void) { return at_attach >> 48 == 0 && at_attach != 0; }
