/* Functions that need nothing but their arguments, or the process's own state. Each function here tries some of them and
   answers 0, or the line of the first thing that is not as Microsoft's reference, or where that is silent Wine, has it. */
#include <winsock2.h>
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

static BOOL same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}
static BOOL same_bytes(const void *a, const char *hex)
{
    for (const unsigned char *c = a; *hex; c++, hex += 2)
        if (hex[0] != "0123456789abcdef"[*c >> 4] || hex[1] != "0123456789abcdef"[*c & 15])
            return FALSE;
    return TRUE;
}
static void *of(const char *library, const char *name) { return GetProcAddress(LoadLibraryA(library), name); }

/* Addresses of the Internet as text. */
typedef INT(WSAAPI *ToNumber)(INT, const char *, void *);
typedef const char *(WSAAPI *ToText)(INT, const void *, char *, SIZE_T);
EXPORT int addresses(void)
{
    ToNumber pton = (ToNumber)of("ws2_32.dll", "inet_pton");
    ToText ntop = (ToText)of("ws2_32.dll", "inet_ntop");
    unsigned char at[16] = {0};
    char text[64];
    struct in_addr a;
    CHECK(inet_addr("1.2.3.4") == 0x04030201 && inet_addr("255.255.255.255") == INADDR_NONE)
    CHECK(inet_addr("1.2.772") == 0x04030201 && inet_addr("1.131844") == 0x04030201 && inet_addr("16909060") == 0x04030201)
    CHECK(inet_addr("0x1.02.0X3.4") == 0x04030201 && inet_addr("010.0.0.0") == 8)
    CHECK(inet_addr("1.2.3.256") == INADDR_NONE && inet_addr("1.2.3.4.5") == INADDR_NONE && inet_addr("a") == INADDR_NONE)
    CHECK(inet_addr("1.2.3.") == INADDR_NONE && inet_addr("1.2.3.4x") == INADDR_NONE)
    a.s_addr = 0x0100007f;
    CHECK(same(inet_ntoa(a), "127.0.0.1"))
    a.s_addr = ~0u;
    CHECK(same(inet_ntoa(a), "255.255.255.255"))
    CHECK(pton(AF_INET, "1.2.3.40", at) == 1 && same_bytes(at, "01020328"))
    CHECK(pton(AF_INET, "1.2.3", at) == 0 && pton(AF_INET, "1.2.3.256", at) == 0 && pton(AF_INET, "", at) == 0)
    CHECK(pton(AF_INET6, "2001:db8::8:800:200c:417a", at) == 1 && same_bytes(at, "20010db80000000000080800200c417a"))
    CHECK(pton(AF_INET6, "::ffff:1.2.3.4", at) == 1 && same_bytes(at, "00000000000000000000ffff01020304"))
    CHECK(pton(AF_INET6, "1::2::3", at) == 0 && pton(AF_INET6, "12345::", at) == 0)
    WSASetLastError(0);
    CHECK(pton(1, "1.2.3.4", at) == -1 && WSAGetLastError() == WSAEAFNOSUPPORT)
    CHECK(pton(AF_INET, "9.8.7.6", at) == 1 && ntop(AF_INET, at, text, sizeof text) == text && same(text, "9.8.7.6"))
    CHECK(ntop(AF_INET, at, text, 8) == text && !ntop(AF_INET, at, text, 7))
    CHECK(pton(AF_INET6, "fe80:0:0:0:1:0:0:2", at) == 1 && ntop(AF_INET6, at, text, sizeof text) && same(text, "fe80::1:0:0:2"))
    CHECK(pton(AF_INET6, "::", at) == 1 && ntop(AF_INET6, at, text, sizeof text) && same(text, "::"))
    WSASetLastError(0);
    CHECK(!ntop(1, at, text, sizeof text) && WSAGetLastError() == WSAEAFNOSUPPORT)
    return 0;
}
EXPORT int sets_of_sockets(void)
{
    fd_set set;
    FD_ZERO(&set);
    CHECK(!FD_ISSET(7, &set))
    FD_SET(7, &set);
    FD_SET(1000, &set);
    return FD_ISSET(7, &set) && FD_ISSET(1000, &set) && !FD_ISSET(8, &set) ? 0 : __LINE__;
}

/* Complex numbers: two floats are passed as one number, two doubles by address. Wine has none of these. */
typedef struct { float re, im; } F;
typedef struct { double re, im; } D;
EXPORT int complex_numbers(void)
{
    float(*cabsf)(F) = of("ucrtbase.dll", "cabsf"), (*crealf)(F) = of("ucrtbase.dll", "crealf"),
    (*cimagf)(F) = of("ucrtbase.dll", "cimagf"), (*nanf)(const char *) = of("ucrtbase.dll", "nanf");
    double(*creal)(D) = of("ucrtbase.dll", "creal"), (*cimag)(D) = of("ucrtbase.dll", "cimag");
    F f = {3, -4};
    D d = {1.5, -2.5};
    CHECK(cabsf(f) == 5 && crealf(f) == 3 && cimagf(f) == -4 && creal(d) == 1.5 && cimag(d) == -2.5)
    float n = nanf("");
    return n != n ? 0 : __LINE__;
}

/* Texts of the C runtime. */
EXPORT int texts(void)
{
    SIZE_T(*wcsxfrm)(WCHAR *, const WCHAR *, SIZE_T) = of("ucrtbase.dll", "wcsxfrm");
    int(*getenv_s)(SIZE_T *, char *, SIZE_T, const char *) = of("ucrtbase.dll", "getenv_s");
    int(*putenv_s)(const char *, const char *) = of("ucrtbase.dll", "_putenv_s");
    char *(*getcwd)(char *, int) = of("ucrtbase.dll", "_getcwd"), here[MAX_PATH], text[MAX_PATH];
    WCHAR *(*wgetcwd)(WCHAR *, int) = of("ucrtbase.dll", "_wgetcwd"), wide[MAX_PATH] = {7, 7, 7, 7}, wide_here[MAX_PATH];
    int *(*error)(void) = of("ucrtbase.dll", "_errno");
    void (*release)(void *) = of("ucrtbase.dll", "free");
    CHECK(wcsxfrm(wide, L"abc", 4) == 3 && wide[2] == 'c' && wide[3] == 0)
    CHECK(wcsxfrm(NULL, L"abcd", 0) == 4)

    SIZE_T need = 9;
    CHECK(putenv_s("TEXTS_AND_NUMBERS", "four") == 0)
    CHECK(getenv_s(&need, text, sizeof text, "TEXTS_AND_NUMBERS") == 0 && need == 5 && same(text, "four"))
    need = 9, getenv_s(&need, NULL, 0, "TEXTS_AND_NUMBERS");
    CHECK(need == 5)
    CHECK(getenv_s(&need, text, 4, "TEXTS_AND_NUMBERS") == 34 /* ERANGE */ && need == 5)

    int len = (int)GetCurrentDirectoryA(sizeof here, here);
    CHECK(getcwd(text, sizeof text) == text && same(text, here) && getcwd(text, len + 1) == text)
    *error() = 0;
    CHECK(!getcwd(text, len) && *error() == 34)
    char *made = getcwd(NULL, 0);
    CHECK(made && same(made, here))
    release(made);
    GetCurrentDirectoryW(MAX_PATH, wide_here);
    CHECK(wgetcwd(wide, MAX_PATH) == wide)
    for (int i = 0; i <= len; i++)
        CHECK(wide[i] == wide_here[i])
    return 0;
}

/* Not Wine's: the reference knows no error for this. */
EXPORT int missing_variable(void)
{
    int(*getenv_s)(SIZE_T *, char *, SIZE_T, const char *) = of("ucrtbase.dll", "getenv_s");
    SIZE_T need = 9;
    char text[4] = "abc";
    return getenv_s(&need, text, sizeof text, "NO_TEXTS_AND_NUMBERS") == 0 && need == 0 && !*text ? 0 : __LINE__;
}

/* Of the process and its handles. */
EXPORT int process(void)
{
    DWORD flags;
    HANDLE event = CreateEventA(NULL, TRUE, FALSE, NULL);
    CHECK(GetPriorityClass(GetCurrentProcess()) == NORMAL_PRIORITY_CLASS)
    FAILS(GetPriorityClass((HANDLE)0x7770), ERROR_INVALID_HANDLE)
    FlushProcessWriteBuffers();
    return CloseHandle(event) ? 0 : __LINE__;
}

/* A folder with a name in it: this library's own file. */
EXPORT int folders(const char *folder)
{
    WIN32_FIND_DATAA found;
    char pattern[MAX_PATH], *end = pattern;
    for (; *folder; folder++)
        *end++ = *folder;
    for (const char *c = "\\KERNEL32.NOTHING"; (*end++ = *c); c++)
        ;
    FAILS(FindFirstFileA(pattern, &found) != INVALID_HANDLE_VALUE, ERROR_FILE_NOT_FOUND)
    end -= sizeof "KERNEL32.NOTHING";
    *end++ = '*', *end = 0;
    HANDLE search = FindFirstFileA(pattern, &found);
    CHECK(search != INVALID_HANDLE_VALUE)
    int n = 0;
    do
        n++;
    while (found.cFileName[0] && FindNextFileA(search, &found));
    CHECK(n >= 2 && GetLastError() == ERROR_NO_MORE_FILES && FindClose(search))
    return 0;
}
EXPORT int temporary_folder(void)
{
    char path[MAX_PATH];
    DWORD len = GetTempPathA(sizeof path, path);
    path[len - 1] = 0; /* the last backslash */
    return folders(path);
}

/* What a process can be asked of its own libraries and memory. */
typedef struct { void *base; DWORD size; void *entry; } ModuleInfo;
typedef struct { DWORD size, faults; SIZE_T sizes[9]; } Counters;
typedef BOOL(WINAPI *EnumModules)(HANDLE, HMODULE *, DWORD, DWORD *);
typedef BOOL(WINAPI *Information)(HANDLE, HMODULE, ModuleInfo *, DWORD);
typedef DWORD(WINAPI *BaseName)(HANDLE, HMODULE, char *, DWORD);
typedef BOOL(WINAPI *MemoryInfo)(HANDLE, Counters *, DWORD);
EXPORT int process_modules(void)
{
    HMODULE all[200], own = GetModuleHandleA("functions.dll");
    HANDLE me = GetCurrentProcess();
    DWORD needed = 0, n, found = 0;
    ModuleInfo info;
    char name[300], file[300];
    EnumModules modules = (EnumModules)of("kernel32.dll", "K32EnumProcessModules");
    Information information = (Information)of("psapi.dll", "GetModuleInformation");
    BaseName base_name = (BaseName)of("kernel32.dll", "K32GetModuleBaseNameA"), file_name = (BaseName)of("kernel32.dll", "K32GetModuleFileNameExA");
    CHECK(own && modules && information && base_name && file_name)
    CHECK(modules(me, all, sizeof all, &needed) && needed >= 16 && needed <= sizeof all && needed % 8 == 0)
    CHECK(all[0] == GetModuleHandleA(0))
    for (n = 0; n < needed / 8; n++)
        found += all[n] == own;
    CHECK(found == 1 && modules(me, all, 8, &n) && n == needed)
    CHECK(information(me, own, &info, sizeof info) && info.base == own && info.size >= 0x1000 && info.entry > info.base)
    CHECK((char *)info.entry < (char *)info.base + info.size)
    FAILS(information(me, own, &info, 8), ERROR_INSUFFICIENT_BUFFER)
    FAILS(information(me, (HMODULE)0x4711, &info, sizeof info), ERROR_INVALID_HANDLE)
    CHECK(base_name(me, own, name, 300) == 13 && same(name, "functions.dll"))
    n = GetModuleFileNameA(own, name, 300);
    CHECK(file_name(me, own, file, 300) == n && same(name, file))
    return 0;
}

EXPORT int process_memory(void)
{
    Counters c = {0};
    char name[300], file[300];
    DWORD n = 300;
    HANDLE me = GetCurrentProcess();
    MemoryInfo memory = (MemoryInfo)of("psapi.dll", "GetProcessMemoryInfo");
    CHECK(memory && memory(me, &c, sizeof c) && sizeof c == 80)
    CHECK(c.sizes[1] > 0x10000 && c.sizes[0] >= c.sizes[1])
    CHECK(memory(me, &c, 72))
    FAILS(memory(me, &c, 71), ERROR_INSUFFICIENT_BUFFER)
    CHECK(QueryFullProcessImageNameA(me, 0, file, &n) && n == GetModuleFileNameA(0, name, 300) && same(name, file))
    n = 2;
    FAILS(QueryFullProcessImageNameA(me, 0, file, &n), ERROR_INSUFFICIENT_BUFFER)
    return 0;
}

/* msvcrt's operator new and delete, for one and for many. */
EXPORT int operators(void)
{
    char *(*make[2])(SIZE_T) = {of("msvcrt.dll", "??2@YAPEAX_K@Z"), of("msvcrt.dll", "??_U@YAPEAX_K@Z")};
    void (*unmake[2])(void *) = {of("msvcrt.dll", "??3@YAXPEAX@Z"), of("msvcrt.dll", "??_V@YAXPEAX@Z")};
    int n;
    for (n = 0; n < 2; n++) {
        char *block;
        CHECK(make[n] && unmake[n] && (block = make[n](100)))
        block[0] = block[99] = 7;
        unmake[n](block);
        unmake[n](0);
    }
    return 0;
}

/* user32's formatting, which is not the C runtime's. */
typedef int(WINAPIV *Format)(char *, const char *, ...);
typedef int(WINAPIV *FormatWide)(WCHAR *, const WCHAR *, ...);
static char formatted_text[1100];
static WCHAR formatted_wide[1100];
static BOOL wide_is(int n, const char *expected)
{
    int i;
    for (i = 0; i < n; i++)
        if (formatted_wide[i] != (unsigned char)expected[i])
            return FALSE;
    return !expected[n] && !formatted_wide[n];
}
EXPORT int formatted(void)
{
    Format f = (Format)of("user32.dll", "wsprintfA");
    FormatWide w = (FormatWide)of("user32.dll", "wsprintfW");
    char *t = formatted_text;
    static char long_text[2000];
    int n;
    CHECK(f && w)
    CHECK(f(t, "%d %i %u %x %X %#x %#X", -5, 6, 7u, 0xabc, 0xabc, 0xabc, 0xabc) == 26 && same(t, "-5 6 7 abc ABC 0xabc 0XABC"))
    CHECK(f(t, "%5d|%-5d|%05d|%.3d|%5.3d|%-5.3d|%05.3d", 42, 42, 42, 42, 42, 42, 42) == 39 && same(t, "   42|42   |00042|042|  042|042  |00042"))
    CHECK(f(t, "%s|%5s|%-5s|%.2s|%5.2s", "abc", "abc", "abc", "abc", "abc") == 24 && same(t, "abc|  abc|abc  |ab|   ab"))
    CHECK(f(t, "%S|%ls|%hs|%ws", L"wide", L"wide", "narrow", L"wide") == 21 && same(t, "wide|wide|narrow|wide"))
    CHECK(f(t, "%c|%C|%hc|%lc|%3c|%-3c|", 'a', L'b', 'c', L'd', 'e', 'f') == 16 && same(t, "a|b|c|d|  e|f  |"))
    CHECK(f(t, "%ld %lu %lx %hd", -1L, 4000000000ul, 0xffffffffL, 70000) == 28 && same(t, "-1 4000000000 ffffffff 70000"))
    CHECK(f(t, "%I64d %I64x %Id %I32d", -5LL, 0x123456789abcdefLL, 7LL, 8) == 22 && same(t, "-5 123456789abcdef 7 8"))
    CHECK(f(t, "%p|%08X|%-8X|", (void *)0xabc, 0xabc, 0xabc) == 35 && same(t, "0000000000000ABC|00000ABC|ABC     |"))
    CHECK(f(t, "%%|%f|%s|%lls", (char *)0) == 13 && same(t, "%|f|(null)|ls"))
    CHECK(f(t, "%.0d|%.0x|%d", 0, 0, 0x80000000) == 15 && same(t, "0|0|-2147483648"))
    CHECK(wide_is(w(formatted_wide, L"%d %s %S %hs %ls %c %C", -5, L"wide", "narrow", "narrow", L"wide", L'x', 'y'), "-5 wide narrow narrow wide x y"))
    CHECK(wide_is(w(formatted_wide, L"%5s|%-5s|%.2s|%05d|%s", L"abc", L"abc", L"abc", 42, (WCHAR *)0), "  abc|abc  |ab|00042|(null)"))
    for (n = 0; n < 1999; n++)
        long_text[n] = 'x';
    f(t, "ab%s", long_text);
    CHECK(lstrlenA(t) == 1023 && t[1] == 'b' && t[1022] == 'x')
    return 0;
}
