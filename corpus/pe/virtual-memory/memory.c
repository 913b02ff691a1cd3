/* What a DLL may expect of VirtualAlloc and its kin. Each function tries one part of it and answers 0, or the line of
   the first thing that is not as Microsoft's reference says. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define RESET_UNDO 0x1000000
#define MEGABYTE 0x100000

static char *alloc(SIZE_T size, DWORD type) { return VirtualAlloc(NULL, size, type, PAGE_READWRITE); }
static char *committed(SIZE_T size) { return alloc(size, MEM_RESERVE | MEM_COMMIT); }
static BOOL release(void *at) { return VirtualFree(at, 0, MEM_RELEASE); }

static MEMORY_BASIC_INFORMATION info;
/* Whether the region of an address is so; info has the rest. */
static BOOL is(const void *at, DWORD state, SIZE_T size, DWORD protect)
{
    return VirtualQuery(at, &info, sizeof info) == sizeof info && info.State == state &&
           (size == 0 || info.RegionSize == size) && info.Protect == protect;
}

EXPORT int life_of_a_page(void)
{
    char *p = alloc(0x20000, MEM_RESERVE);
    CHECK(p && ((SIZE_T)p & 0xffff) == 0)
    CHECK(is(p + 0x5000, MEM_RESERVE, 0x1b000, 0) && info.AllocationBase == p && info.BaseAddress == p + 0x5000)
    CHECK(VirtualAlloc(p + 0x1fff, 2, MEM_COMMIT, PAGE_READWRITE) == p + 0x1000)
    CHECK(is(p + 0x1000, MEM_COMMIT, 0x2000, PAGE_READWRITE) && info.Type == MEM_PRIVATE)
    for (int i = 0; i < 0x2000; i++)
        CHECK(p[0x1000 + i] == 0)
    p[0x1000] = 7;
    CHECK(VirtualAlloc(p + 0x1000, 0x2000, MEM_COMMIT, PAGE_READWRITE) && p[0x1000] == 7)
    CHECK(VirtualFree(p + 0x1000, 0x1000, MEM_DECOMMIT) && is(p + 0x1000, MEM_RESERVE, 0x1000, 0))
    CHECK(IsBadReadPtr(p + 0x1000, 1) && !IsBadReadPtr(p + 0x2000, 1))
    CHECK(VirtualAlloc(p + 0x1000, 0x1000, MEM_COMMIT, PAGE_READWRITE) && p[0x1000] == 0)
    CHECK(VirtualFree(p, 0, MEM_DECOMMIT) && is(p, MEM_RESERVE, 0x20000, 0))
    CHECK(release(p) && is(p, MEM_FREE, 0, PAGE_NOACCESS) && info.AllocationBase == NULL)
    return 0;
}

EXPORT int freeing_refused(void)
{
    char *p = committed(0x40000);
    p[0x3f000] = 1;
    FAILS(VirtualFree(p, 0, MEM_DECOMMIT | MEM_RELEASE), ERROR_INVALID_PARAMETER)
    FAILS(VirtualFree(p, 0, MEM_COMMIT), ERROR_INVALID_PARAMETER)
    FAILS(VirtualFree(p, 0x40000, MEM_RELEASE), ERROR_INVALID_PARAMETER)
    FAILS(release(p + 0x1000), ERROR_INVALID_ADDRESS)
    FAILS(VirtualFree(p + 0x1000, 0, MEM_DECOMMIT), ERROR_INVALID_ADDRESS)
    FAILS(VirtualFree(p + 0x3f000, 0x2000, MEM_DECOMMIT), ERROR_INVALID_PARAMETER)
    CHECK(p[0x3f000] == 1 && release(p))
    FAILS(release(p), ERROR_INVALID_ADDRESS)
    FAILS(release(NULL), ERROR_INVALID_ADDRESS)
    FAILS(release(GetModuleHandleA("virtual-memory.dll")), ERROR_INVALID_PARAMETER)
    FAILS(release(GetModuleHandleA("kernel32.dll")), ERROR_INVALID_PARAMETER)
    return 0;
}

EXPORT int kinds_of_allocation(void)
{
    char *low = committed(1), *high = alloc(1, MEM_RESERVE | MEM_COMMIT | MEM_TOP_DOWN), *p;
    CHECK(low < high && release(low) && release(high))
    CHECK((p = committed(0x4000)) && (p[0] = 5))
    CHECK(VirtualAlloc(p, 0x1000, MEM_RESET, PAGE_NOACCESS) == p && is(p, MEM_COMMIT, 0x4000, PAGE_READWRITE))
    CHECK(VirtualAlloc(p, 0x1000, RESET_UNDO, PAGE_NOACCESS) == p && p[0] == 5)
    FAILS(VirtualAlloc(p + 0x3000, 0x2000, MEM_RESET, PAGE_NOACCESS), ERROR_INVALID_ADDRESS)
    CHECK(release(p))
    CHECK((p = VirtualAlloc(NULL, 0x1000, MEM_RESERVE | MEM_PHYSICAL, PAGE_READWRITE)) && release(p))
    FAILS(alloc(0x1000, MEM_RESERVE | MEM_COMMIT | MEM_PHYSICAL), ERROR_INVALID_PARAMETER)
    CHECK(GetLargePageMinimum() == 2 * MEGABYTE)
    FAILS(alloc(2 * MEGABYTE, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES), ERROR_PRIVILEGE_NOT_HELD)
    FAILS(alloc(0x1000, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES), ERROR_INVALID_PARAMETER)
    FAILS(alloc(0x1000, MEM_TOP_DOWN), ERROR_INVALID_PARAMETER)
    FAILS(alloc(0, MEM_RESERVE), ERROR_INVALID_PARAMETER)
    /* A system may be set to promise anything, or to give hardly any address space. */
    p = alloc((SIZE_T)1 << 46, MEM_RESERVE | MEM_COMMIT);
    CHECK(p ? release(p) : GetLastError() == ERROR_COMMITMENT_LIMIT || GetLastError() == ERROR_NOT_ENOUGH_MEMORY)
    return 0;
}

EXPORT int protections(void)
{
    static const BYTE code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov eax, 42; ret */
    DWORD old = 0;
    char *p = committed(0x3000);
    for (int i = 0; i < (int)sizeof code; i++)
        p[i] = code[i];
    CHECK(VirtualProtect(p, 1, PAGE_EXECUTE_READ, &old) && old == PAGE_READWRITE)
    CHECK(((int (*)(void))p)() == 42)
    CHECK(is(p, MEM_COMMIT, 0x1000, PAGE_EXECUTE_READ) && info.AllocationProtect == PAGE_READWRITE)
    CHECK(VirtualProtect(p, 0x2000, PAGE_READONLY, &old) && old == PAGE_EXECUTE_READ)
    CHECK(VirtualProtect(p + 0x2fff, 1, PAGE_READWRITE | PAGE_GUARD, &old) && old == PAGE_READWRITE)
    CHECK(is(p + 0x2000, MEM_COMMIT, 0x1000, PAGE_READWRITE | PAGE_GUARD))
    FAILS(VirtualProtect(p, 1, PAGE_WRITECOPY, &old), ERROR_INVALID_PARAMETER)
    FAILS(VirtualProtect(p, 0, PAGE_READWRITE, &old), ERROR_INVALID_PARAMETER)
    FAILS(VirtualProtect(p, 1, PAGE_READWRITE, NULL), ERROR_NOACCESS)
    CHECK(VirtualFree(p + 0x1000, 0x1000, MEM_DECOMMIT))
    FAILS(VirtualProtect(p, 0x3000, PAGE_READWRITE, &old), ERROR_INVALID_ADDRESS)
    CHECK(release(p))
    FAILS(VirtualProtect(p, 1, PAGE_READWRITE, &old), ERROR_INVALID_ADDRESS)
    CHECK((p = HeapAlloc(GetProcessHeap(), 0, 0x3000)) && VirtualProtect(p + 0x1000, 1, PAGE_EXECUTE_READWRITE, &old))
    CHECK(VirtualProtect(p + 0x1000, 1, old, &old) && old == PAGE_READWRITE && HeapFree(GetProcessHeap(), 0, p))
    return 0;
}

static int data = 1;
static const int constant = 2;

EXPORT int regions_of_all_kinds(void)
{
    char *base = (char *)GetModuleHandleA("virtual-memory.dll"), *at = NULL;
    DWORD old;
    int stack, steps = 0;
    CHECK(is(base, MEM_COMMIT, 0x1000, PAGE_READONLY) && info.Type == MEM_IMAGE)
    CHECK(is((void *)regions_of_all_kinds, MEM_COMMIT, 0, PAGE_EXECUTE_READ) && info.AllocationBase == base)
    CHECK(is(&data, MEM_COMMIT, 0, PAGE_WRITECOPY) && info.AllocationProtect == PAGE_EXECUTE_WRITECOPY)
    CHECK(VirtualProtect((void *)&constant, 4, PAGE_READWRITE, &old) && old == PAGE_READONLY)
    CHECK(is(&constant, MEM_COMMIT, 0, PAGE_WRITECOPY))
    *(volatile int *)&constant = 3;
    CHECK(VirtualProtect((void *)&constant, 4, old, &old) && is(&constant, MEM_COMMIT, 0, PAGE_READONLY))
    FAILS(VirtualAlloc(base, 1, MEM_COMMIT, PAGE_READWRITE), ERROR_ACCESS_DENIED)
    CHECK(is(&stack, MEM_COMMIT, 0, PAGE_READWRITE) && info.Type == MEM_PRIVATE)
    CHECK(is(NULL, MEM_FREE, 0, PAGE_NOACCESS))
    FAILS(VirtualQuery(base, &info, sizeof info - 1), ERROR_BAD_LENGTH)
    FAILS(VirtualQuery((void *)0xffff800000000000, &info, sizeof info), ERROR_INVALID_PARAMETER)
    /* Regions follow each other up to the end of what there is. */
    while (VirtualQuery(at, &info, sizeof info)) {
        CHECK(info.BaseAddress == at && info.RegionSize && ++steps < 1000000)
        at += info.RegionSize;
    }
    CHECK(at == (char *)0x7fffffff0000 && GetLastError() == ERROR_INVALID_PARAMETER)
    return 0;
}

static void *pages[8];
static ULONG_PTR count;
static DWORD granularity;
static int writes(DWORD flags, char *at, SIZE_T size)
{
    count = 8;
    return GetWriteWatch(flags, at, size, pages, &count, &granularity) == 0 ? (int)count : -1;
}

/* 1000: this system cannot watch writes, and says so. */
EXPORT int watching_writes(void)
{
    char *p = alloc(0x8000, MEM_RESERVE | MEM_COMMIT | MEM_WRITE_WATCH);
    volatile char read;
    if (!p && GetLastError() == ERROR_NOT_SUPPORTED)
        return 1000;
    CHECK(p && writes(0, p, 0x8000) == 0)
    p[0] = p[0x3001] = p[0x3000] = 1;
    read = p[0x6000];
    CHECK(writes(WRITE_WATCH_FLAG_RESET, p, 0x8000) == 2 && pages[0] == p && pages[1] == p + 0x3000)
    CHECK(granularity == 0x1000 && writes(0, p, 0x8000) == 0)
    p[0x5000] = 1 + read;
    CHECK(writes(0, p, 0x5000) == 0 && writes(0, p + 0x5001, 1) == 1 && pages[0] == p + 0x5000)
    CHECK(ResetWriteWatch(p, 0x8000) == 0 && writes(0, p, 0x8000) == 0)
    CHECK(WriteProcessMemory(GetCurrentProcess(), p + 0x7000, "x", 1, NULL) && writes(1, p, 0x8000) == 1)
    p[0x1000] = 1;
    CHECK(VirtualFree(p + 0x1000, 0x1000, MEM_DECOMMIT) && writes(1, p, 0x8000) == 1)
    CHECK(VirtualAlloc(p + 0x1000, 0x1000, MEM_COMMIT, PAGE_READWRITE) && writes(0, p, 0x8000) == 0)
    p[0x1000] = 1;
    CHECK(writes(0, p, 0x8000) == 1)
    CHECK(writes(0, p, 0x9000) == -1 && GetLastError() == ERROR_INVALID_PARAMETER)
    CHECK(release(p) && (p = committed(0x1000)) && writes(0, p, 0x1000) == -1)
    CHECK(ResetWriteWatch(p, 0x1000) == (UINT)-1 && release(p))
    return 0;
}

EXPORT int process_handles(void)
{
    HANDLE me = GetCurrentProcess(), event = CreateEventA(NULL, 0, 0, NULL), copy = NULL;
    HANDLE limited = OpenProcess(PROCESS_QUERY_INFORMATION, FALSE, GetCurrentProcessId());
    HANDLE whole = OpenProcess(PROCESS_ALL_ACCESS, FALSE, GetCurrentProcessId());
    char *own = committed(0x1000), *p, words[] = "words", got[6] = "";
    SIZE_T n;
    DWORD old;
    HMODULE kernel32 = GetModuleHandleA("kernel32.dll");
    CHECK((SIZE_T)GetProcAddress(kernel32, "VirtualFreeEx") == (SIZE_T)VirtualFreeEx)
    CHECK(!GetProcAddress(kernel32, "VirtualFreeExA") && !GetProcAddress(kernel32, "VirtualFreeExW"))
    CHECK(DuplicateHandle(me, me, me, &copy, PROCESS_VM_READ, FALSE, 0))
    CHECK((p = VirtualAllocEx(whole, NULL, 0x2000, MEM_RESERVE, PAGE_READWRITE)))
    CHECK(VirtualAllocEx(me, p, 0x1000, MEM_COMMIT, PAGE_READWRITE) == p)
    CHECK(VirtualQueryEx(limited, p, &info, sizeof info) && info.State == MEM_COMMIT && info.RegionSize == 0x1000)
    CHECK(WriteProcessMemory(whole, p, words, 6, &n) && n == 6)
    CHECK(ReadProcessMemory(copy, p, got, 6, &n) && n == 6 && got[4] == 's')
    FAILS(ReadProcessMemory(me, p + 0xffc, got, 6, &n), ERROR_PARTIAL_COPY)
    CHECK(n == 4)
    FAILS(ReadProcessMemory(me, NULL, got, 6, &n), ERROR_PARTIAL_COPY)
    FAILS(WriteProcessMemory(me, p + 0x1000, words, 6, &n), ERROR_PARTIAL_COPY)
    CHECK(VirtualProtectEx(whole, p, 1, PAGE_READONLY, &old) && old == PAGE_READWRITE)
    FAILS(WriteProcessMemory(me, p, words, 6, &n), ERROR_PARTIAL_COPY)
    CHECK(VirtualProtectEx(me, p, 1, PAGE_EXECUTE_READ, &old) && WriteProcessMemory(me, p, "x", 1, NULL))
    CHECK(p[0] == 'x' && VirtualQueryEx(me, p, &info, sizeof info) && info.Protect == PAGE_EXECUTE_READ)
    FAILS(VirtualFreeEx(limited, own, 0, MEM_RELEASE), ERROR_ACCESS_DENIED)
    FAILS(VirtualFreeEx(copy, own, 0, MEM_RELEASE), ERROR_ACCESS_DENIED)
    FAILS(VirtualAllocEx(limited, NULL, 1, MEM_COMMIT, PAGE_READWRITE), ERROR_ACCESS_DENIED)
    FAILS(VirtualProtectEx(limited, own, 1, PAGE_READONLY, &old), ERROR_ACCESS_DENIED)
    FAILS(VirtualQueryEx(copy, own, &info, sizeof info), ERROR_ACCESS_DENIED)
    FAILS(ReadProcessMemory(limited, own, got, 1, &n), ERROR_ACCESS_DENIED)
    FAILS(WriteProcessMemory(copy, own, got, 1, &n), ERROR_ACCESS_DENIED)
    FAILS(VirtualFreeEx(NULL, own, 0, MEM_RELEASE), ERROR_INVALID_HANDLE)
    FAILS(VirtualFreeEx((HANDLE)0xdead0, own, 0, MEM_RELEASE), ERROR_INVALID_HANDLE)
    FAILS(VirtualFreeEx(event, own, 0, MEM_RELEASE), ERROR_INVALID_HANDLE)
    FAILS(VirtualFreeEx(whole, own + 0x1000, 0, MEM_RELEASE), ERROR_INVALID_ADDRESS)
    CHECK(VirtualFreeEx(whole, p, 0x1000, MEM_DECOMMIT) && VirtualFreeEx(me, p, 0, MEM_RELEASE))
    CHECK(VirtualFreeEx(whole, own, 0, MEM_RELEASE) && VirtualQuery(own, &info, sizeof info) && info.State == MEM_FREE)
    CHECK(CloseHandle(event) && CloseHandle(limited) && CloseHandle(whole) && CloseHandle(copy))
    FAILS(VirtualFreeEx(whole, p, 0, MEM_RELEASE), ERROR_INVALID_HANDLE)
    return 0;
}

EXPORT int locking(void)
{
    char *p = committed(0x2000);
    CHECK(VirtualLock(p + 5, 0x1000) && VirtualUnlock(p, 0x2000))
    FAILS(VirtualUnlock(p, 0x2000), ERROR_NOT_LOCKED)
    CHECK(VirtualFree(p, 0x1000, MEM_DECOMMIT))
    FAILS(VirtualLock(p, 0x2000), ERROR_NOACCESS)
    CHECK(release(p))
    FAILS(VirtualLock(p, 1), ERROR_NOACCESS)
    return 0;
}

EXPORT int views_of_sections(void)
{
    HANDLE one = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 0x20000, "virtual memory"), other;
    volatile char *p = MapViewOfFile(one, FILE_MAP_ALL_ACCESS, 0, 0, 0), *part;
    DWORD old;
    CHECK((other = OpenFileMappingA(FILE_MAP_READ, FALSE, "virtual memory")))
    FAILS(OpenFileMappingA(FILE_MAP_READ, FALSE, "nothing of that name"), ERROR_FILE_NOT_FOUND)
    CHECK(p && is((char *)p + 0x1000, MEM_COMMIT, 0x1f000, PAGE_READWRITE) && info.Type == MEM_MAPPED)
    CHECK((part = MapViewOfFile(other, FILE_MAP_READ, 0, 0x10000, 0x1000)))
    p[0x10005] = 9;
    CHECK(part[5] == 9 && is((char *)part, MEM_COMMIT, 0x1000, PAGE_READONLY))
    FAILS(VirtualProtect((char *)part, 1, PAGE_READWRITE, &old), ERROR_INVALID_PARAMETER)
    CHECK(UnmapViewOfFile((char *)part) && (part = MapViewOfFile(one, FILE_MAP_COPY, 0, 0x10000, 0)))
    CHECK(is((char *)part, MEM_COMMIT, 0x10000, PAGE_WRITECOPY) && (part[5] = 1) && p[0x10005] == 9)
    FAILS(MapViewOfFile(one, FILE_MAP_READ, 0, 0x1000, 0), ERROR_MAPPED_ALIGNMENT)
    FAILS(MapViewOfFile(one, FILE_MAP_READ, 0, 0, 0x20001), ERROR_ACCESS_DENIED)
    FAILS(MapViewOfFileEx(one, FILE_MAP_READ, 0, 0, 0, (char *)p), ERROR_INVALID_ADDRESS)
    FAILS(VirtualFree((char *)p, 0, MEM_RELEASE), ERROR_INVALID_PARAMETER)
    CHECK(FlushViewOfFile((char *)p, 0) && UnmapViewOfFile((char *)p) && UnmapViewOfFile((char *)part))
    FAILS(UnmapViewOfFile((char *)p), ERROR_INVALID_ADDRESS)
    CHECK(CloseHandle(one) && CloseHandle(other))
    FAILS(CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 0, NULL), ERROR_INVALID_PARAMETER)
    CHECK((one = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | SEC_RESERVE, 0, 0x20000, NULL)))
    CHECK((p = MapViewOfFile(one, FILE_MAP_WRITE, 0, 0, 0)) && is((char *)p, MEM_RESERVE, 0x20000, 0))
    CHECK(VirtualAlloc((char *)p, 1, MEM_COMMIT, PAGE_READWRITE) && (p[0] = 1))
    CHECK(UnmapViewOfFile((char *)p) && CloseHandle(one))
    return 0;
}

static HANDLE file(const char *name, DWORD access, DWORD disposition)
{
    return CreateFileA(name, access, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, disposition, FILE_ATTRIBUTE_NORMAL, NULL);
}
static HANDLE section(HANDLE of, DWORD protect, DWORD size) { return CreateFileMappingA(of, NULL, protect, 0, size, NULL); }

/* A file of this process's own in the folder for temporary files. */
EXPORT int views_of_files(void)
{
    char name[300];
    DWORD n = GetTempPathA(260, name), id = GetCurrentProcessId();
    HANDLE whole, reader, shown;
    volatile char *p, *copy;
    for (name[n++] = 'v'; id; id /= 10)
        name[n++] = '0' + id % 10;
    name[n] = 0;
    CHECK((whole = file(name, GENERIC_READ | GENERIC_WRITE, CREATE_ALWAYS)) != INVALID_HANDLE_VALUE)
    CHECK((reader = file(name, GENERIC_READ, OPEN_EXISTING)) != INVALID_HANDLE_VALUE)
    FAILS(section(whole, PAGE_READWRITE, 0), ERROR_FILE_INVALID)
    CHECK(WriteFile(whole, "contents", 8, &n, NULL) && n == 8)
    FAILS(section(reader, PAGE_READWRITE, 0), ERROR_ACCESS_DENIED)
    FAILS(section(reader, PAGE_READONLY, 9), ERROR_NOT_ENOUGH_MEMORY)
    FAILS(section(reader, PAGE_NOACCESS, 0), ERROR_INVALID_PARAMETER)
    CHECK((shown = section(reader, PAGE_READONLY, 0)))
    FAILS(MapViewOfFile(shown, FILE_MAP_WRITE, 0, 0, 0), ERROR_ACCESS_DENIED)
    CHECK((p = MapViewOfFile(shown, FILE_MAP_READ, 0, 0, 0)) && p[7] == 's' && p[8] == 0)
    CHECK(is((char *)p, MEM_COMMIT, 0x1000, PAGE_READONLY) && info.Type == MEM_MAPPED)
    FAILS(VirtualAlloc((char *)p, 1, MEM_COMMIT, PAGE_READONLY), ERROR_ACCESS_DENIED)
    CHECK(CloseHandle(shown) && p[0] == 'c') /* a view outlives its section's handles */
    CHECK((shown = section(whole, PAGE_READWRITE, 0x11000)) && GetFileSize(whole, NULL) == 0x11000)
    CHECK((copy = MapViewOfFile(shown, FILE_MAP_COPY, 0, 0, 8)) && (copy[0] = 'C') && p[0] == 'c')
    CHECK(UnmapViewOfFile((char *)copy) && (copy = MapViewOfFile(shown, FILE_MAP_WRITE, 0, 0x10000, 0)))
    CHECK(is((char *)copy, MEM_COMMIT, 0x1000, PAGE_READWRITE) && (copy[0x10] = 'w'))
    CHECK(FlushViewOfFile((char *)copy, 0) && SetFilePointer(reader, 0x10010, NULL, FILE_BEGIN) == 0x10010)
    CHECK(ReadFile(reader, name + 290, 1, &n, NULL) && name[290] == 'w')
    CHECK(UnmapViewOfFile((char *)copy) && UnmapViewOfFile((char *)p))
    CHECK(CloseHandle(shown) && CloseHandle(whole) && CloseHandle(reader) && DeleteFileA(name))
    return 0;
}

EXPORT int heaps(void)
{
    HANDLE heap = HeapCreate(0, 0, 0), fixed = HeapCreate(0, 0, 0x1000), code = HeapCreate(HEAP_CREATE_ENABLE_EXECUTE, 0, 0);
    HANDLE all[16];
    PROCESS_HEAP_ENTRY entry;
    char *a = HeapAlloc(heap, HEAP_ZERO_MEMORY, 100), *b, *c;
    SIZE_T bytes = 0;
    int n = 0;
    CHECK(heap && fixed && code && a && a[99] == 0)
    CHECK(HeapSize(heap, 0, a) == 100 && HeapValidate(heap, 0, a) && !HeapValidate(heap, 0, a + 16))
    a[99] = 7;
    CHECK((a = HeapReAlloc(heap, HEAP_ZERO_MEMORY, a, 1000)) && a[99] == 7 && a[999] == 0)
    CHECK((b = HeapAlloc(heap, 0, 24)))
    entry.lpData = NULL;
    while (HeapWalk(heap, &entry)) {
        CHECK((entry.lpData == a || entry.lpData == b) && entry.wFlags == PROCESS_HEAP_ENTRY_BUSY)
        bytes += entry.cbData, n++;
    }
    CHECK(GetLastError() == ERROR_NO_MORE_ITEMS && n == 2 && bytes == 1024)
    CHECK(GetProcessHeaps(16, all) == 4 && all[0] == GetProcessHeap())
    FAILS(HeapFree(fixed, 0, b), ERROR_INVALID_PARAMETER)
    CHECK(HeapFree(heap, 0, b) && !HeapValidate(heap, 0, b) && HeapFree(heap, 0, NULL))
    CHECK((c = HeapAlloc(fixed, 0, 0x800)) && HeapAlloc(fixed, 0, 0x700) && !HeapAlloc(fixed, 0, 0x101))
    CHECK(HeapFree(fixed, 0, c) && HeapAlloc(fixed, 0, 0x101))
    CHECK((c = HeapAlloc(code, 0, 16)) && (c[0] = (char)0xc3))
    ((void (*)(void))c)();
    CHECK(HeapDestroy(heap) && HeapDestroy(fixed) && HeapDestroy(code) && is(c, MEM_FREE, 0, PAGE_NOACCESS))
    FAILS(HeapCompact(heap, 0), ERROR_INVALID_HANDLE)
    FAILS(HeapCompact(GetProcessHeap(), 0), NO_ERROR)
    FAILS(HeapDestroy(heap), ERROR_INVALID_HANDLE)
    FAILS(HeapAlloc(heap, 0, 1), ERROR_INVALID_HANDLE)
    CHECK((a = LocalLock(LocalAlloc(LPTR, 10))) && a[9] == 0 && LocalSize(a) == 10 && !LocalFree(a))
    CHECK((a = GlobalAlloc(GMEM_FIXED, 10)) && GlobalHandle(a) == a && GlobalFlags(a) == 0 && !GlobalFree(a))
    return 0;
}

/* Thousands of allocations and frees in a shuffled order; none may be refused, be off its boundary, or stay. */
EXPORT int many(unsigned seed)
{
    char *held[64];
    for (int i = 0; i < 64; i++)
        held[i] = committed(1);
    for (int i = 0; i < 2000; i++) {
        seed = seed * 1103515245 + 12345;
        char **slot = &held[seed >> 16 & 63];
        SIZE_T size = ((seed >> 22) % 40 + 1) * 0x1800;
        CHECK(release(*slot) && (*slot = committed(size)))
        CHECK(((SIZE_T)*slot & 0xffff) == 0 && !(*slot)[0] && !(*slot)[size - 1])
        (*slot)[0] = (*slot)[size - 1] = 1;
    }
    for (int i = 0; i < 64; i++)
        CHECK(release(held[i]))
    return 0;
}

/* What stays when it is forgotten: for tests of the counters. */
EXPORT int forget(int size) { return committed(size) != NULL; }
EXPORT int touch_guard(void)
{
    DWORD old;
    char *p = committed(0x2000);
    CHECK(VirtualProtect(p, 1, PAGE_READWRITE | PAGE_GUARD, &old))
    SIZE_T n;
    char got;
    FAILS(ReadProcessMemory(GetCurrentProcess(), p, &got, 1, &n), ERROR_PARTIAL_COPY)
    return release(p) ? 0 : __LINE__;
}
