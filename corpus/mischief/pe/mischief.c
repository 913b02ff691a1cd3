#define EXPORT __declspec(dllexport)
#define IMPORT __declspec(dllimport)
#include "../mischief.h"

typedef struct { void *record, *context; } Pointers;
enum { MIB = 1 << 20, COMMIT = 0x3000, READ_WRITE = 4, GO_ON = -1, NOTHING_FOUND = 0 };
enum { GENERIC_READ_ = (int)0x80000000, GENERIC_WRITE_ = 0x40000000, CREATE_ALWAYS_ = 2, OPEN_EXISTING_ = 3, OUTPUT = -11 };

IMPORT void *VirtualAlloc(void *, u64 size, unsigned kind, unsigned rights);
IMPORT void *CreateThread(void *, u64 stack, unsigned (*)(void *), void *, unsigned flags, unsigned *number);
IMPORT void ExitProcess(unsigned);
IMPORT int TerminateProcess(void *, unsigned);
IMPORT unsigned GetLastError(void);
IMPORT void *AddVectoredExceptionHandler(unsigned first, int (*)(Pointers *));
IMPORT void *CreateFileA(const char *, unsigned access, unsigned share, void *, unsigned how, unsigned flags, void *);
IMPORT void *GetStdHandle(unsigned);
IMPORT int WriteFile(void *, const void *, unsigned length, unsigned *written, void *);
IMPORT void *GetProcessHeap(void);
IMPORT void *HeapAlloc(void *, unsigned flags, u64 size);
IMPORT int HeapFree(void *, unsigned flags, void *);
IMPORT void RaiseException(unsigned code, unsigned flags, unsigned count, const u64 *);

/* Windows' number of the last error, below zero. */
static i64 refused(void) { return -(i64)GetLastError(); }

EXPORT i64 eats_memory(void)
{
    i64 eaten = 0;
    char *more;
    while ((more = VirtualAlloc(0, MIB, COMMIT, READ_WRITE))) {
        eaten++;
        for (unsigned i = 0; i < MIB; i += PAGE)
            more[i] = (char)eaten;
    }
    return eaten;
}

static unsigned idles(void *nothing)
{
    (void)nothing;
    sleeps();
    return 0;
}

EXPORT i64 starts_threads(void)
{
    while (CreateThread(0, 0, idles, 0, 0, 0))
        ;
    return refused();
}

/* In .rdata. */
static const int sealed = 1;
EXPORT void writes_sealed(void) { *(volatile int *)hidden(&sealed) = 0; }

EXPORT void exits(void) { ExitProcess(7); }
EXPORT void terminates_itself(void) { TerminateProcess((void *)-1, 7); }
EXPORT void raises(void) { RaiseException(0xe0000001, 0, 0, 0); }

static int looks_well(Pointers *fault)
{
    (void)fault;
    ExitProcess(0);
    return NOTHING_FOUND;
}
static int comes_back(Pointers *fault)
{
    (void)fault;
    return GO_ON;
}

/* A fault after which the process seems to have ended well, and one that is handled for ever. */
EXPORT i64 faults_and_looks_well(void) { return AddVectoredExceptionHandler(1, looks_well), calls_null(); }
EXPORT i64 faults_for_ever(void) { return AddVectoredExceptionHandler(1, comes_back), calls_null(); }

static i64 opens(const char *path, unsigned access, unsigned how)
{
    void *file = CreateFileA(path, access, 7, 0, how, 0, 0); /* shared with all, for nobody closes it */
    return file == (void *)-1 ? refused() : 0;
}
EXPORT i64 reads_file(const char *path) { return opens(path, (unsigned)GENERIC_READ_, OPEN_EXISTING_); }
EXPORT i64 writes_file(const char *path) { return opens(path, GENERIC_WRITE_, CREATE_ALWAYS_); }

EXPORT i64 prints(void)
{
    static char text[65536];
    void *out = GetStdHandle((unsigned)OUTPUT);
    unsigned written;
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = i % 100 == 99 ? '\n' : 'x';
    while (WriteFile(out, text, sizeof text, &written, 0) && written)
        ;
    return refused();
}

EXPORT i64 breaks_heap(void)
{
    void *heap = GetProcessHeap();
    char *block = HeapAlloc(heap, 0, 24);
    volatile char *header = block - 16; /* no further: behind it is whatever the loader has there */
    for (unsigned i = 0; i < 16; i++)
        header[i] = 0x41;
    HeapFree(heap, 0, block);
    for (unsigned i = 1; i < 64; i++)
        HeapFree(heap, 0, HeapAlloc(heap, 0, i * 24));
    return 0;
}

int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)image, (void)reason, (void)reserved;
    return 1;
}
