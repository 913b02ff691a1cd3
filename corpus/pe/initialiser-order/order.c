#include "../common.h"
#include "../tls.h"

static void say(const char *who, unsigned reason, void *reserved)
{
    static const char *const reasons[] = {" detach", " attach"};
    static char line[32];
    char *end = line;
    if (reason > PROCESS_ATTACH)
        return;
    while (*who)
        *end++ = *who++;
    for (const char *text = reasons[reason]; *text; text++)
        *end++ = *text;
    for (const char *text = reserved ? " static" : ""; *text; text++)
        *end++ = *text;
    *end = 0;
    tlog(line);
}

static void first(void *image, unsigned reason, void *reserved) { (void)image, say("first callback", reason, reserved); }
static void second(void *image, unsigned reason, void *reserved) { (void)image, say("second callback", reason, reserved); }
static tls_callback *const callbacks[] = {first, second, 0};
TLS_DIRECTORY(callbacks, 0, 0)

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, say("DllMain", reason, reserved);
    return 1;
}
EXPORT int order_value(void) { return 1; }
