/* NT's own names for what KERNEL32 does with memory, sections, images and libraries, and what a thread can ask about itself.
   Each function answers 0, or the line of the first thing that is otherwise. */
#include <windows.h>
#include <tlhelp32.h>
#include <winternl.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define SELF ((HANDLE)-1)
typedef LARGE_INTEGER Offset;
typedef struct { void *base; ULONG attributes; LARGE_INTEGER size; } Basic;
typedef struct { void *base; ULONG protect, kind; SIZE_T size, committed; } Region;
typedef struct { void *low, *high; SIZE_T align; } Requirements;
typedef struct { ULONGLONG kind; void *value; } Parameter;

#define NT(name, ...) typedef NTSTATUS(NTAPI *name##_t)(__VA_ARGS__); NTSTATUS NTAPI name(__VA_ARGS__)
NT(NtAllocateVirtualMemory, HANDLE, void **, ULONG_PTR, SIZE_T *, ULONG, ULONG);
NT(NtFreeVirtualMemory, HANDLE, void **, SIZE_T *, ULONG);
NT(NtProtectVirtualMemory, HANDLE, void **, SIZE_T *, ULONG, ULONG *);
NT(NtQueryVirtualMemory, HANDLE, const void *, int, void *, SIZE_T, SIZE_T *);
NT(NtReadVirtualMemory, HANDLE, const void *, void *, SIZE_T, SIZE_T *);
NT(NtMapViewOfSection, HANDLE, HANDLE, void **, ULONG_PTR, SIZE_T, Offset *, SIZE_T *, int, ULONG, ULONG);
NT(NtUnmapViewOfSection, HANDLE, void *);
/* Not in every import library: looked up. */
#define LOOKED_UP(result, name, ...) result(NTAPI *name)(__VA_ARGS__) = (void *)GetProcAddress(ntdll(), #name)
static HMODULE ntdll(void) { return GetModuleHandleA("ntdll.dll"); }
#define STATUS(x) ((NTSTATUS)(x))

/* Places and lengths come back rounded; refusals are statuses. */
EXPORT int memory(void)
{
    void *at = NULL, *inside;
    SIZE_T len = 0x1800, got;
    ULONG old;
    MEMORY_BASIC_INFORMATION info;
    Region region = { 0 };
    CHECK(NtAllocateVirtualMemory(SELF, &at, 0, &len, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) == 0 && len == 0x2000)
    inside = (char *)at + 0x1000, len = 1;
    CHECK(NtAllocateVirtualMemory(SELF, &inside, 0, &len, MEM_RESERVE, PAGE_READWRITE) == STATUS(0xc0000018)) /* conflicting addresses */
    inside = (char *)at + 0x10, len = 0x10;
    CHECK(NtProtectVirtualMemory(SELF, &inside, &len, PAGE_READONLY, &old) == 0 && old == PAGE_READWRITE && inside == at && len == 0x1000)
    CHECK(NtProtectVirtualMemory(SELF, &inside, &len, 0x30, &old) == STATUS(0xc0000045)) /* invalid page protection */
    CHECK(NtQueryVirtualMemory(SELF, at, 0, &info, sizeof info, &got) == 0 && got == sizeof info && info.Protect == PAGE_READONLY)
    CHECK(NtQueryVirtualMemory(SELF, at, 0, &info, sizeof info - 1, &got) == STATUS(0xc0000004)) /* info length mismatch */
    CHECK(NtQueryVirtualMemory(SELF, (char *)at + 0x1000, 3, &region, sizeof region, NULL) == 0)
    /* (The last is newer than some systems that call themselves Windows.) */
    CHECK(region.base == at && region.size == 0x2000 && region.protect == PAGE_READWRITE && region.committed == 0x2000)
    CHECK(NtReadVirtualMemory(SELF, (void *)8, &old, 4, &got) == STATUS(0x8000000d) && got == 0) /* partial copy */
    inside = (char *)at + 0x1000, len = 0;
    CHECK(NtFreeVirtualMemory(SELF, &inside, &len, MEM_RELEASE) == STATUS(0xc000009f)) /* free vm not at base */
    len = 0;
    CHECK(NtFreeVirtualMemory(SELF, &at, &len, MEM_RELEASE) == 0 && len == 0x2000)
    return 0;
}

/* How high the place may be, said in zero bits or as an end. */
EXPORT int places(void)
{
    void *at = NULL;
    SIZE_T len = 0x10000;
    CHECK(NtAllocateVirtualMemory(SELF, &at, 3, &len, MEM_RESERVE, PAGE_READWRITE) == 0 && (ULONG_PTR)at >> 29 == 0)
    len = 0;
    CHECK(NtFreeVirtualMemory(SELF, &at, &len, MEM_RELEASE) == 0)
    at = NULL, len = 0x10000;
    CHECK(NtAllocateVirtualMemory(SELF, &at, 22, &len, MEM_RESERVE, PAGE_READWRITE) < 0)
    LOOKED_UP(NTSTATUS, NtAllocateVirtualMemoryEx, HANDLE, void **, SIZE_T *, ULONG, ULONG, Parameter *, ULONG);
    Requirements where = { NULL, (void *)(0x40000000 - 1), 0x100000 };
    Parameter parameter = { 1, &where };
    CHECK(NtAllocateVirtualMemoryEx(SELF, &at, &len, MEM_RESERVE, PAGE_READWRITE, &parameter, 1) == 0)
    CHECK((ULONG_PTR)at + len <= 0x40000000 && ((ULONG_PTR)at & 0xfffff) == 0)
    CHECK(VirtualFree(at, 0, MEM_RELEASE))
    at = NULL, where.align = 0x30000;
    CHECK(NtAllocateVirtualMemoryEx(SELF, &at, &len, MEM_RESERVE, PAGE_READWRITE, &parameter, 1) == STATUS(0xc000000d))
    where.align = 0, where.high = (void *)0x40000800;
    CHECK(NtAllocateVirtualMemoryEx(SELF, &at, &len, MEM_RESERVE, PAGE_READWRITE, &parameter, 1) == STATUS(0xc000000d))
    return 0;
}

/* Handles of sections carry rights; a view has the protection that it was asked for. */
EXPORT int sections(void)
{
    LOOKED_UP(NTSTATUS, NtQuerySection, HANDLE, int, void *, SIZE_T, SIZE_T *);
    HANDLE own = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 0x2000, "system calls"), reads;
    Basic basic;
    Offset none = { .QuadPart = 0 };
    void *at = NULL, *again;
    SIZE_T len = 0;
    MEMORY_BASIC_INFORMATION info;
    CHECK(own && NtQuerySection(own, 0, &basic, sizeof basic, NULL) == 0 && basic.attributes == SEC_COMMIT && basic.size.QuadPart == 0x2000)
    CHECK(NtMapViewOfSection(own, SELF, &at, 0, 0, &none, &len, 1, 0, PAGE_READWRITE) == 0 && len == 0x2000)
    *(char *)at = 'x';
    again = at, len = 0;
    CHECK(NtMapViewOfSection(own, SELF, &again, 0, 0, &none, &len, 1, 0, PAGE_READWRITE) == STATUS(0xc0000018))
    again = (char *)at + 0x1000, len = 0;
    CHECK(NtMapViewOfSection(own, SELF, &again, 0, 0, &none, &len, 1, 0, PAGE_READWRITE) == STATUS(0xc0000220)) /* mapped alignment */
    again = NULL, len = 0x4000;
    CHECK(NtMapViewOfSection(own, SELF, &again, 0, 0, &none, &len, 1, 0, PAGE_READWRITE) == STATUS(0xc000001f)) /* invalid view size */
    CHECK((reads = OpenFileMappingA(FILE_MAP_READ, FALSE, "system calls")))
    FAILS(MapViewOfFile(reads, FILE_MAP_WRITE, 0, 0, 0), ERROR_ACCESS_DENIED)
    CHECK(NtQuerySection(reads, 0, &basic, sizeof basic, NULL) == STATUS(0xc0000022)) /* access denied */
    CHECK((again = MapViewOfFile(reads, FILE_MAP_READ | FILE_MAP_COPY, 0, 0, 0)) && *(char *)again == 'x')
    CHECK(VirtualQuery(again, &info, sizeof info) && info.Protect == PAGE_READONLY)
    /* A page of it becomes a copy of its own, for good. */
    ULONG old;
    CHECK(VirtualProtect(again, 0x1000, PAGE_WRITECOPY, &old) && old == PAGE_READONLY)
    *(char *)again = 'y';
    CHECK(*(char *)at == 'x' && VirtualProtect(again, 0x1000, PAGE_READONLY, &old) && *(char *)again == 'y')
    FAILS(VirtualProtect(again, 0x1000, PAGE_READWRITE, &old), ERROR_INVALID_PARAMETER)
    CHECK(UnmapViewOfFile(again) && (again = MapViewOfFile(own, FILE_MAP_COPY, 0, 0, 0)))
    FAILS(VirtualProtect(again, 0x1000, PAGE_READWRITE, &old), ERROR_INVALID_PARAMETER)
    CHECK(NtUnmapViewOfSection(SELF, (char *)again + 0x1000) == 0 && NtUnmapViewOfSection(SELF, again) == STATUS(0xc0000019))
    CHECK(NtUnmapViewOfSection(SELF, at) == 0 && CloseHandle(own) && CloseHandle(reads))
    return 0;
}

/* Where the parts of this very image are. */
EXPORT int images(void)
{
    LOOKED_UP(IMAGE_NT_HEADERS *, RtlImageNtHeader, void *);
    LOOKED_UP(void *, RtlImageDirectoryEntryToData, void *, BOOLEAN, WORD, ULONG *);
    LOOKED_UP(IMAGE_SECTION_HEADER *, RtlImageRvaToSection, IMAGE_NT_HEADERS *, void *, ULONG);
    LOOKED_UP(void *, LdrProcessRelocationBlock, void *, UINT, USHORT *, INT_PTR);
    char *base = (char *)GetModuleHandleA("system-calls.dll");
    IMAGE_NT_HEADERS *nt = RtlImageNtHeader(base);
    ULONG len = 0;
    CHECK(nt && (char *)nt == base + ((IMAGE_DOS_HEADER *)base)->e_lfanew && !RtlImageNtHeader(base + 2))
    IMAGE_EXPORT_DIRECTORY *exports = RtlImageDirectoryEntryToData(base, TRUE, 0, &len);
    CHECK(exports && len == nt->OptionalHeader.DataDirectory[0].Size && lstrcmpA(base + exports->Name, "system-calls.dll") == 0)
    IMAGE_SECTION_HEADER *section = RtlImageRvaToSection(nt, base, (ULONG)((char *)images - base));
    CHECK(section && lstrcmpA((char *)section->Name, ".text") == 0 && !RtlImageRvaToSection(nt, base, 0))
    ULONGLONG words[2] = { 5, 7 };
    USHORT list[3] = { 0xa000, 0xa008, 0 };
    CHECK(LdrProcessRelocationBlock(words, 3, list, 0x100) == list + 3 && words[0] == 0x105 && words[1] == 0x107)
    return 0;
}

/* Libraries that are built in have no files, but a place where Windows code believes them. */
EXPORT int system_folder(void)
{
    char path[MAX_PATH], name[MAX_PATH];
    HMODULE kernel = GetModuleHandleA("kernel32.dll"), found;
    CHECK(GetSystemDirectoryA(path, MAX_PATH) && lstrcatA(path, "\\kernel32"))
    CHECK((found = LoadLibraryA(path)) == kernel && FreeLibrary(found))
    CHECK((found = LoadLibraryA("kernel32.dll  ")) == kernel && FreeLibrary(found))
    CHECK(GetModuleFileNameA(kernel, name, MAX_PATH) && lstrcatA(path, ".dll") && lstrcmpiA(name, path) == 0)
    CHECK(GetSystemDirectoryA(path, MAX_PATH) && lstrcatA(path, "\\nothing of this name.dll"))
    FAILS(LoadLibraryA(path), ERROR_MOD_NOT_FOUND)
    return 0;
}

/* Counted names in, statuses out. */
EXPORT int libraries(void)
{
    LOOKED_UP(NTSTATUS, LdrGetDllHandleEx, ULONG, void *, ULONG *, UNICODE_STRING *, HMODULE *);
    LOOKED_UP(NTSTATUS, LdrGetDllFullName, HMODULE, UNICODE_STRING *);
    LOOKED_UP(NTSTATUS, LdrFindEntryForAddress, const void *, char **);
    UNICODE_STRING own = { 32, 34, L"system-calls.dll" }, other = { 14, 16, L"not.dll" }, full = { 0, 6, NULL };
    WCHAR room[MAX_PATH], name[MAX_PATH];
    HMODULE found = NULL, self = GetModuleHandleA("system-calls.dll");
    char *entry;
    CHECK(LdrGetDllHandleEx(1, NULL, NULL, &own, &found) == 0 && found == self)
    CHECK(LdrGetDllHandleEx(0, NULL, NULL, &own, &found) == 0 && FreeLibrary(found) && GetModuleHandleA("system-calls.dll") == self)
    CHECK(LdrGetDllHandleEx(0, NULL, NULL, &other, &found) == STATUS(0xc0000135)) /* DLL not found */
    CHECK(LdrGetDllHandleEx(3, NULL, NULL, &own, &found) == STATUS(0xc000000d))
    full.Buffer = room;
    CHECK(LdrGetDllFullName(self, &full) == STATUS(0xc0000023) && full.Length == 6) /* buffer too small */
    full.MaximumLength = sizeof room;
    CHECK(LdrGetDllFullName(self, &full) == 0 && GetModuleFileNameW(self, name, MAX_PATH) && lstrcmpiW(room, name) == 0)
    CHECK(LdrFindEntryForAddress((void *)libraries, &entry) == 0 && *(HMODULE *)(entry + 0x30) == self)
    return 0;
}

/* A thread goes on with the registers that it gives itself. */
EXPORT int own_registers(void)
{
    static CONTEXT context;
    static M128A before, after;
    volatile int local;
    context.ContextFlags = CONTEXT_FULL;
    CHECK(GetThreadContext(GetCurrentThread(), &context) && context.Rip)
    CHECK(context.Rsp < (DWORD64)&local && context.Rsp > (DWORD64)&local - 0x10000)
    context.ContextFlags = CONTEXT_FLOATING_POINT;
    CHECK(GetThreadContext(GetCurrentThread(), &context))
    __asm__ volatile("movups %%xmm15, %0" : "=m"(before));
    CHECK(context.Xmm15.Low == before.Low && context.Xmm15.High == before.High)
    context.Xmm15.Low = before.Low + 1;
    CHECK(SetThreadContext(GetCurrentThread(), &context))
    __asm__ volatile("movups %%xmm15, %0\n\tmovups %1, %%xmm15" : "=m"(after) : "m"(before));
    CHECK(after.Low == before.Low + 1 && after.High == before.High)
    return 0;
}

static DWORD codes[4], counts[4];
static int seen;
static void *skipped_to;
static LONG CALLBACK note(EXCEPTION_POINTERS *p)
{
    if (seen < 4)
        counts[seen] = p->ExceptionRecord->NumberParameters, codes[seen++] = p->ExceptionRecord->ExceptionCode;
    if (skipped_to)
        p->ContextRecord->Rip = (DWORD64)skipped_to;
    return EXCEPTION_CONTINUE_EXECUTION;
}

/* Software interrupts: an assertion, services of a debugger. The byte behind `int 0x2d` is passed over when nobody is told. */
EXPORT int interrupts(void)
{
    void *handler = AddVectoredExceptionHandler(1, note);
    DWORD64 service = 1;
    seen = 0;
    CHECK(handler)
    __asm__ volatile("int $0x2d\n\tnop" : "+a"(service) : : "memory"); /* a text: nobody is told */
    CHECK(seen == 0)
    service = 6; /* no service: goes on right behind */
    __asm__ volatile("int $0x2d\n\tnop" : "+a"(service) : : "memory");
    CHECK(seen == 1 && codes[0] == 0x80000003 && counts[0] == 1)
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\tmovq %%rax, %0\n\tint $0x2c\n1:" : "=m"(skipped_to) : : "rax", "memory");
    skipped_to = NULL;
    CHECK(seen == 2 && codes[1] == 0xc0000420 && counts[1] == 0)
    return RemoveVectoredExceptionHandler(handler) ? 0 : __LINE__;
}

/* What is said to a debugger that is not there is offered to the vectored handlers: wide text as such first, since Windows 10. */
EXPORT int said_to_debuggers(void)
{
    void *handler = AddVectoredExceptionHandler(1, note);
    seen = 0;
    OutputDebugStringA("");
    OutputDebugStringW(L"");
    CHECK(seen == 2 && codes[0] == 0x40010006 && counts[0] == 2 && codes[1] == 0x4001000a && counts[1] == 4)
    return RemoveVectoredExceptionHandler(handler) ? 0 : __LINE__;
}

/* Process, threads and libraries as they are at one moment. */
EXPORT int snapshots(void)
{
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPALL, 0);
    PROCESSENTRY32W process = { sizeof process };
    THREADENTRY32 thread = { sizeof thread };
    MODULEENTRY32 module = { sizeof module };
    int processes = 0, threads = 0, modules = 0;
    char file[MAX_PATH];
    CHECK(all != INVALID_HANDLE_VALUE)
    for (BOOL more = Process32FirstW(all, &process); more; more = Process32NextW(all, &process))
        processes += process.th32ProcessID == GetCurrentProcessId() && process.cntThreads > 0;
    CHECK(GetLastError() == ERROR_NO_MORE_FILES)
    for (BOOL more = Thread32First(all, &thread); more; more = Thread32Next(all, &thread))
        threads += thread.th32ThreadID == GetCurrentThreadId() && thread.th32OwnerProcessID == GetCurrentProcessId();
    for (BOOL more = Module32First(all, &module); more; more = Module32Next(all, &module))
        if (module.hModule == GetModuleHandleA("system-calls.dll")) {
            modules++;
            CHECK(module.modBaseAddr == (BYTE *)module.hModule && lstrcmpA(module.szModule, "system-calls.dll") == 0)
            CHECK(GetModuleFileNameA(module.hModule, file, MAX_PATH) && lstrcmpA(module.szExePath, file) == 0)
        }
    CHECK(processes == 1 && threads == 1 && modules == 1)
    module.dwSize = 8;
    FAILS(Module32First(all, &module), ERROR_INSUFFICIENT_BUFFER)
    module.dwSize = sizeof module;
    FAILS(Module32First(GetCurrentThread(), &module), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(all))
    CHECK(CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, 0xfffffff0) == INVALID_HANDLE_VALUE)
    return 0;
}

/* A time of the shared page: the upper half is read before and after the lower one. */
static ULONGLONG shared_time(SIZE_T at)
{
    volatile LONG *t = (LONG *)(0x7ffe0000 + at);
    LONG high, low;
    do
        high = t[1], low = t[0];
    while (high != t[2]);
    return (ULONGLONG)high << 32 | (ULONG)low;
}

/* The page that Windows shares with all processes, which some compilers' code reads without asking anyone. */
EXPORT int shared_page(void)
{
    volatile ULONG *words = (ULONG *)0x7ffe0000;
    OSVERSIONINFOA version = { sizeof version };
    WCHAR folder[MAX_PATH];
    ULONGLONG now, before = shared_time(0x14), up = GetTickCount64(), then = shared_time(0x8);
    CHECK(GetVersionExA(&version) && words[0x260 / 4] == version.dwBuildNumber)
    CHECK(words[0x26c / 4] == version.dwMajorVersion && words[0x270 / 4] == version.dwMinorVersion)
    CHECK(GetWindowsDirectoryW(folder, MAX_PATH))
    for (int i = 0; i == 0 || folder[i - 1]; i++)
        CHECK(((volatile WCHAR *)0x7ffe0030)[i] == folder[i])
    for (int i = 0; i < 42; i++)
        CHECK(((volatile BYTE *)0x7ffe0274)[i] == IsProcessorFeaturePresent(i))
    GetSystemTimeAsFileTime((FILETIME *)&now);
    CHECK(before <= now && now - before < 10000000)
    CHECK(shared_time(0x320) * words[1] >> 24 <= up + 1000 && shared_time(0x320) * words[1] >> 24 >= up - 1000)
    Sleep(40);
    CHECK(shared_time(0x14) - now >= 200000 && shared_time(0x8) - then >= 200000)
    return 0;
}
