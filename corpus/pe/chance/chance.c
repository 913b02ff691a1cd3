/* What differs from run to run: addresses, time, random numbers. */
#include "../common.h"

typedef unsigned long long u64;

IMPORT void *GetProcessHeap(void);
IMPORT void *HeapAlloc(void *, unsigned flags, u64 size);
IMPORT void *VirtualAlloc(void *, u64 size, unsigned kind, unsigned rights);
IMPORT void GetSystemTimeAsFileTime(u64 *);
IMPORT int QueryPerformanceCounter(u64 *);
IMPORT u64 GetTickCount64(void);
IMPORT unsigned GetTickCount(void);
IMPORT void *EncodePointer(void *);
IMPORT void Sleep(unsigned);
IMPORT unsigned char SystemFunction036(void *, unsigned length); /* RtlGenRandom */

EXPORT u64 chance_code(void) { return (u64)&chance_code; }
EXPORT u64 chance_stack(void) { return (u64)__builtin_frame_address(0); }
EXPORT u64 chance_heap(void) { return (u64)HeapAlloc(GetProcessHeap(), 0, 1000); }
EXPORT u64 chance_pages(void) { return (u64)VirtualAlloc(0, 1 << 20, 0x3000, 4); }
EXPORT u64 chance_ticks(void) { return GetTickCount64(); }
EXPORT u64 chance_clock(void) { return GetTickCount(); }

EXPORT u64 chance_date(void)
{
    u64 now;
    GetSystemTimeAsFileTime(&now);
    return now;
}

EXPORT u64 chance_uptime(void)
{
    u64 now;
    return QueryPerformanceCounter(&now) ? now : 0;
}

EXPORT u64 chance_random(void)
{
    u64 word = 0;
    return SystemFunction036(&word, sizeof word) ? word : 0;
}

/* What pointers are hidden with. */
EXPORT u64 chance_guard(void) { return (u64)EncodePointer(0); }

EXPORT unsigned char chance_differs(void) { return chance_random() != chance_random() && chance_uptime() <= chance_uptime(); }

/* Time passes while one sleeps; the clocks count in 100 ns. */
EXPORT unsigned char chance_passes(void)
{
    u64 before = chance_uptime(), date = chance_date();
    Sleep(5);
    return chance_uptime() - before >= 50000 && chance_date() - date >= 40000;
}
SILENT
