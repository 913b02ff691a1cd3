/* A library that asks what is at an address, and what it is itself. Every answer is held against what the linker says:
   the symbols of this file, __ehdr_start, _DYNAMIC, the program headers. */
#define _GNU_SOURCE
#include "../common.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

extern const ElfW(Ehdr) __ehdr_start HIDDEN;
extern char _end HIDDEN;
extern ElfW(Dyn) _DYNAMIC[] HIDDEN;

EXPORT int data[4] = {1, 2, 3, 4};
EXPORT __thread int of_thread = 5;
EXPORT long after_data = 6;

/* A function in a function, a name for a place, and bytes that are nobody's. */
__asm__(".text\n.balign 64\n"
        ".globl outer\n.type outer, @function\nouter: .skip 16, 0x90\n"
        ".globl inner\n.type inner, @function\ninner: .skip 8, 0x90\n.size inner, 8\n"
        ".skip 8, 0x90\n.size outer, 32\n"
        ".globl place\nplace: .skip 16, 0x90\n"
        ".globl next\n.type next, @function\nnext: .skip 8, 0x90\n.size next, 8\n");
extern const char outer[], inner[], place[], next[];

static const char *file(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *name_at(const void *at) {
    Dl_info info;
    if (!dladdr(at, &info)) return "(no module)";
    if (info.dli_fbase != (void *)&__ehdr_start) return "(another module)";
    return info.dli_sname ? info.dli_sname : "(no symbol)";
}

EXPORT const char *own_name(void) {
    Dl_info info;
    return dladdr((void *)own_name, &info) ? file(info.dli_fname) : "(no module)";
}
EXPORT const char *at_outer(int offset) { return name_at(outer + offset); }
EXPORT const char *at_data(int offset) { return name_at((char *)data + offset); }
EXPORT const char *at_data_start(void) {
    Dl_info info;
    return dladdr((char *)data + 9, &info) && info.dli_saddr == data ? "data" : "elsewhere";
}
EXPORT const char *at_header(void) { return name_at(&__ehdr_start); }
/* A thread-local variable is in no module's image. */
EXPORT const char *at_thread_variable(void) { return name_at(&of_thread); }

/* Between its segments nothing can be read: they are 16 KiB apart. */
EXPORT const char *at_gap(void) {
    const ElfW(Phdr) *header = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        if (header[i].p_type == PT_LOAD && header[i].p_flags & PF_X) {
            unsigned long end = header[i].p_vaddr + header[i].p_memsz;
            return name_at((const char *)&__ehdr_start + ((end + 0x2fff) & ~0xfffUL));
        }
    }
    return "(no code)";
}

/* The system's own functions are asked about through the same call. */
EXPORT int of_host(void) {
    Dl_info info;
    return dladdr(__builtin_extract_return_addr((void *)&strlen), &info) && info.dli_fbase != (void *)&__ehdr_start;
}

EXPORT int entry_fits(void) {
    Dl_info info;
    const ElfW(Sym) *entry = 0;
    if (!dladdr1((char *)data + 4, &info, (void **)&entry, RTLD_DL_SYMENT) || !entry) return 0;
    return entry->st_value == (char *)data - (const char *)&__ehdr_start && entry->st_size == sizeof data;
}

EXPORT int link_map_fits(void) {
    Dl_info info;
    struct link_map *map = 0;
    if (!dladdr1((void *)own_name, &info, (void **)&map, RTLD_DL_LINKMAP) || !map) return 0;
    return map->l_addr == (ElfW(Addr))&__ehdr_start && map->l_ld == _DYNAMIC && !strcmp(map->l_name, info.dli_fname);
}

struct walk {
    int all, own, host_first, fits;
};

static int step(struct dl_phdr_info *info, size_t size, void *data) {
    struct walk *walk = data;
    if (info->dlpi_addr == (ElfW(Addr))&__ehdr_start) {
        const void *headers = (const char *)&__ehdr_start + __ehdr_start.e_phoff;
        walk->own++;
        walk->host_first = walk->all > 0;
        of_thread = of_thread; /* touched: this thread has a block */
        walk->fits = size == sizeof *info && info->dlpi_phnum == __ehdr_start.e_phnum
            && !memcmp(info->dlpi_phdr, headers, sizeof(ElfW(Phdr)) * info->dlpi_phnum)
            && !strcmp(file(info->dlpi_name), own_name()) && info->dlpi_tls_modid != 0
            && info->dlpi_adds > info->dlpi_subs;
    }
    walk->all++;
    return 0;
}
EXPORT int walk_fits(void) {
    struct walk walk = {0};
    int result = dl_iterate_phdr(step, &walk);
    return result == 0 && walk.own == 1 && walk.host_first && walk.fits;
}

static int thread_block(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    if (info->dlpi_addr != (ElfW(Addr))&__ehdr_start) return 0;
    *(void **)data = info->dlpi_tls_data;
    return 77;
}
/* The block is there once the thread has touched it, and the one variable in it is its first. */
EXPORT int thread_block_fits(void) {
    void *block = 0;
    volatile int *touched = &of_thread;
    return *touched == 5 && dl_iterate_phdr(thread_block, &block) == 77 && block == (void *)touched;
}

EXPORT int dlinfo_fits(void) {
    Dl_info info;
    if (!dladdr((void *)own_name, &info)) return 0;
    void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    struct link_map *map = 0;
    size_t module = 0;
    void *block = 0;
    const ElfW(Phdr) *headers = 0;
    volatile int *touched = &of_thread;
    int fits = handle && *touched == 5
        && !dlinfo(handle, RTLD_DI_LINKMAP, &map) && map->l_addr == (ElfW(Addr))&__ehdr_start && map->l_ld == _DYNAMIC
        && !dlinfo(handle, RTLD_DI_TLS_MODID, &module) && module != 0
        && !dlinfo(handle, RTLD_DI_TLS_DATA, &block) && block == (void *)touched
        && dlinfo(handle, RTLD_DI_PHDR, &headers) == __ehdr_start.e_phnum && headers[0].p_type == PT_LOAD
        && dlinfo(handle, 99, &block) == -1;
    return fits && !dlclose(handle);
}
/* The folder that it came from is the one that its name begins with. */
EXPORT int origin_fits(void) {
    Dl_info info;
    char origin[4096];
    if (!dladdr((void *)own_name, &info)) return 0;
    void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    size_t length = file(info.dli_fname) - info.dli_fname;
    int fits = handle && !dlinfo(handle, RTLD_DI_ORIGIN, origin)
        && (length == 0 || (strlen(origin) == length - 1 && !memcmp(origin, info.dli_fname, length - 1)));
    return fits && !dlclose(handle);
}
EXPORT int dlinfo_of_program(void) {
    void *program = dlopen(0, RTLD_LAZY);
    struct link_map *map = 0;
    return !dlinfo(program, RTLD_DI_LINKMAP, &map) && map && map->l_name[0] == 0 && !dlclose(program);
}

EXPORT int object_fits(void) {
    struct dl_find_object found;
    if (_dl_find_object((void *)own_name, &found)) return 0;
    const ElfW(Phdr) *header = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    const void *unwind = 0;
    for (int i = 0; i < __ehdr_start.e_phnum; i++)
        if (header[i].p_type == PT_GNU_EH_FRAME) unwind = (const char *)&__ehdr_start + header[i].p_vaddr;
    return found.dlfo_eh_frame == unwind && found.dlfo_map_start == (void *)&__ehdr_start
        && (char *)found.dlfo_map_end >= &_end && found.dlfo_link_map->l_ld == _DYNAMIC;
}
EXPORT int object_of_nobody(void) {
    struct dl_find_object found;
    int local;
    return _dl_find_object(&local, &found);
}
