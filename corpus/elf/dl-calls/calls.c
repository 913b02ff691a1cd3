#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>
#include <string.h>

#define PLUGIN "libdl-plugin.so"

typedef int Answer(void);

int next_of_dep(void);
extern int nobody_has_this(void) __attribute__((weak));

EXPORT int chosen(void) { return 1; }

EXPORT int same_handle(void)
{
    void *one = dlopen(PLUGIN, RTLD_NOW), *two = dlopen(PLUGIN, RTLD_NOW);
    int same = one && one == two;
    dlclose(one);
    int there = dlsym(two, "plugin_weak") != 0;
    dlclose(two);
    return same && there && !dlopen(PLUGIN, RTLD_NOW | RTLD_NOLOAD);
}

/* A NOLOAD that finds something counts as an open. */
EXPORT int noload_counts(void)
{
    void *one = dlopen(PLUGIN, RTLD_LAZY), *two = dlopen(PLUGIN, RTLD_LAZY | RTLD_NOLOAD);
    dlclose(one);
    int there = dlopen(PLUGIN, RTLD_LAZY | RTLD_NOLOAD) == two;
    dlclose(two);
    dlclose(two);
    return there && !dlopen(PLUGIN, RTLD_LAZY | RTLD_NOLOAD);
}

EXPORT int local_stays_local(void)
{
    void *plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL), *program = dlopen(0, RTLD_NOW);
    int seen = ((Answer *)dlsym(plugin, "plugin_sees_its_group"))();
    int hidden = !dlsym(RTLD_DEFAULT, "plugindep_only") && !dlsym(program, "plugindep_only");
    int deep = ((Answer *)dlsym(plugin, "plugindep_only"))() == 7;
    int own = dlsym(RTLD_DEFAULT, "same_handle") == (void *)same_handle;
    dlclose(plugin);
    dlclose(program);
    return seen && hidden && deep && own;
}

EXPORT int next_one(void)
{
    Answer *next = (Answer *)dlsym(RTLD_NEXT, "chosen");
    return next() + next_of_dep();
}

EXPORT int no_next(void) { return dlsym(RTLD_NEXT, "next_one") == 0; }

EXPORT int weak_ones(void)
{
    void *plugin = dlopen(PLUGIN, RTLD_NOW);
    int answer = nobody_has_this ? 0 : ((Answer *)dlsym(plugin, "plugin_weak"))();
    dlclose(plugin);
    return answer;
}

/* The text is there once, and names what was sought; it is of the latest call. */
EXPORT int error_is_read_once(void)
{
    dlerror();
    int none = !dlsym(RTLD_DEFAULT, "no_such_symbol") && dlsym(RTLD_DEFAULT, "malloc") && !dlerror();
    int missed = !dlsym(RTLD_DEFAULT, "no_such_symbol");
    const char *text = dlerror();
    return none && missed && text && strstr(text, "no_such_symbol") && !dlerror();
}

EXPORT int misses(int times)
{
    int missed = 0;
    for (int i = 0; i < times; i++)
        missed += !dlsym(RTLD_DEFAULT, "no_such_symbol") && !dlopen("libno-such-library.so", RTLD_NOW);
    dlerror();
    return missed;
}

EXPORT int refusals(void)
{
    int no_library = !dlopen("/etc/passwd", RTLD_NOW) && dlerror();
    int no_mode = !dlopen(PLUGIN, 0) && dlerror();
    return no_library && no_mode;
}

/* A call that is the last thing a function does: it returns to whoever called that function. */
EXPORT void *opens_in_the_end(const char *path) { return dlopen(path, RTLD_NOW); }
EXPORT int closes_in_the_end(void *handle) { return dlclose(handle); }

EXPORT int no_namespace_of_its_own(void)
{
    const char *text = dlmopen(LM_ID_NEWLM, PLUGIN, RTLD_NOW) ? 0 : dlerror();
    return text && strstr(text, "LM_ID_BASE");
}

EXPORT int base_namespace(void)
{
    void *one = dlopen(PLUGIN, RTLD_NOW), *two = dlmopen(LM_ID_BASE, PLUGIN, RTLD_NOW);
    int same = one == two;
    dlclose(one);
    dlclose(two);
    return same;
}

EXPORT int thread_local_symbol(void)
{
    void *plugin = dlopen(PLUGIN, RTLD_NOW);
    int *variable = dlsym(plugin, "plugin_tls");
    int value = ++*variable;
    dlclose(plugin);
    return value;
}

/* The process's own library, not a second copy of it; and the calls are the same by whichever way they are found. */
EXPORT int the_same_libc(void)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    int data = dlsym(libc, "environ") == dlsym(RTLD_DEFAULT, "environ");
    int calls = dlsym(libc, "dlopen") == (void *)dlopen && dlsym(RTLD_DEFAULT, "dlsym") == (void *)dlsym;
    dlclose(libc);
    return data && calls;
}

EXPORT int versions(void)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    void *old = dlvsym(libc, "memcpy", "GLIBC_2.2.5"), *new = dlvsym(libc, "memcpy", "GLIBC_2.14");
    int none = !dlvsym(libc, "memcpy", "GLIBC_2.3");
    dlclose(libc);
    return old && new && old != new && none;
}
