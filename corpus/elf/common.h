/* What the ELF cases share. A line of log is a write to descriptor 198, a pipe that the runner holds, so that the same
   image can be watched under any loader. */
#ifndef COMMON_H
#define COMMON_H

long write(int file, const void *bytes, unsigned long length);

#define LOG(text) ((void)!write(198, text "\n", sizeof text))
#define EXPORT __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

/* A library that logs its first and its last breath. */
#define LIFE(name)                                                    \
    __attribute__((constructor)) static void born(void) { LOG("init " name); } \
    __attribute__((destructor)) static void dies(void) { LOG("fini " name); }

#endif
