/* System calls by the processor's own instruction: what no loader and no C library sees. Both formats run on Linux, so
   both can do it. */
#ifndef RAW_H
#define RAW_H

typedef unsigned long long u64;
typedef long long i64;

enum { RAW_MPROTECT = 10, RAW_GETPID = 39, RAW_SOCKET = 41, RAW_FORK = 57, RAW_EXECVE = 59, RAW_KILL = 62, RAW_GETPPID = 110,
    RAW_SETSID = 112, RAW_NANOSLEEP = 35, RAW_EXIT_GROUP = 231, RAW_OPENAT = 257, RAW_PROCESS_VM_READV = 310, RAW_CLOSE_RANGE = 436 };

static inline i64 raw(i64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    i64 result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

#define RAW3(number, a, b, c) raw(number, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)
#define POINTER(at) ((u64)(unsigned long long)(at))

enum { AT_FDCWD_ = -100, SIGKILL_ = 9, PAGE = 4096 };

#endif
