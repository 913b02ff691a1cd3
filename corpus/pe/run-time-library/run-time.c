/* ntdll's run-time library. Each function here tries some of it and answers 0, or the line of the first thing that is not
   as Microsoft's reference, or where that is silent another system that runs such programs, has it. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* A function of ntdll. */
#define NT(type, name, ...)                                                                              \
    type(WINAPI *name)(__VA_ARGS__) = (void *)GetProcAddress(GetModuleHandleA("ntdll.dll"), #name);      \
    CHECK(name)

typedef LONG NTSTATUS;
typedef struct { USHORT length, room; WCHAR *at; } Text;
typedef struct { USHORT length, room; char *at; } Bytes;
enum { TOO_SMALL = 0xc0000023, OVERFLOWS = 0x80000005, INVALID = 0xc000000d };

static BOOL same(const char *a, const char *b) { return !lstrcmpA(a, b); }
static BOOL wide(const WCHAR *a, const WCHAR *b) { return !lstrcmpW(a, b); }

EXPORT int counted_texts(void)
{
    NT(void, RtlInitUnicodeString, Text *, const WCHAR *)
    NT(NTSTATUS, RtlInitUnicodeStringEx, Text *, const WCHAR *)
    NT(void, RtlInitAnsiString, Bytes *, const char *)
    NT(BOOLEAN, RtlCreateUnicodeString, Text *, const WCHAR *)
    NT(NTSTATUS, RtlDuplicateUnicodeString, ULONG, const Text *, Text *)
    NT(void, RtlFreeUnicodeString, Text *)
    NT(void, RtlCopyUnicodeString, Text *, const Text *)
    NT(NTSTATUS, RtlAppendUnicodeStringToString, Text *, const Text *)
    NT(NTSTATUS, RtlAppendUnicodeToString, Text *, const WCHAR *)
    NT(NTSTATUS, RtlAppendAsciizToString, Bytes *, const char *)
    WCHAR place[8] = L"#######";
    char narrow[8] = "#######";
    static WCHAR longest[0x8001];
    Text a, b = {0, 12, place};
    Bytes n;
    RtlInitUnicodeString(&a, L"abc");
    CHECK(a.length == 6 && a.room == 8 && wide(a.at, L"abc"))
    RtlInitUnicodeString(&a, NULL);
    CHECK(a.length == 0 && a.room == 0 && !a.at)
    for (int i = 0; i < 0x8000; i++)
        longest[i] = 'x';
    RtlInitUnicodeString(&a, longest);
    CHECK(a.length == 0xfffc && a.room == 0xfffe && RtlInitUnicodeStringEx(&a, longest) == 0xc0000106)
    RtlInitAnsiString(&n, "abcd");
    CHECK(n.length == 4 && n.room == 5)
    CHECK(RtlCreateUnicodeString(&a, L"abc") && a.length == 6 && a.room == 8)
    RtlCopyUnicodeString(&b, &a);
    CHECK(b.length == 6 && wide(place, L"abc"))
    CHECK(RtlAppendUnicodeToString(&b, L"de") == 0 && b.length == 10 && wide(place, L"abcde"))
    CHECK(RtlAppendUnicodeStringToString(&b, &a) == TOO_SMALL && b.length == 10)
    b.length = 6;
    CHECK(RtlAppendUnicodeStringToString(&b, &a) == 0 && b.length == 12 && place[5] == 'c' && place[6] == '#')
    RtlFreeUnicodeString(&a);
    CHECK(!a.at && !a.length)
    b.length = 4;
    CHECK(RtlDuplicateUnicodeString(0, &b, &a) == 0 && a.length == 4 && a.room == 4 && a.at != b.at)
    RtlFreeUnicodeString(&a);
    CHECK(RtlDuplicateUnicodeString(1, &b, &a) == 0 && a.room == 6 && wide(a.at, L"ab"))
    RtlFreeUnicodeString(&a);
    b.length = 0;
    CHECK(RtlDuplicateUnicodeString(1, &b, &a) == 0 && !a.at && RtlDuplicateUnicodeString(2, &b, &a) == INVALID)
    n.at = narrow, n.length = 1, n.room = 4;
    CHECK(RtlAppendAsciizToString(&n, "abc") == 0 && n.length == 4 && same(narrow, "#abc###"))
    CHECK(RtlAppendAsciizToString(&n, "d") == TOO_SMALL && RtlAppendAsciizToString(&n, NULL) == 0)
    return 0;
}

EXPORT int other_forms(void)
{
    NT(NTSTATUS, RtlUnicodeStringToAnsiString, Bytes *, const Text *, BOOLEAN)
    NT(NTSTATUS, RtlAnsiStringToUnicodeString, Text *, const Bytes *, BOOLEAN)
    NT(void, RtlFreeAnsiString, Bytes *)
    NT(NTSTATUS, RtlUpcaseUnicodeString, Text *, const Text *, BOOLEAN)
    NT(WCHAR, RtlUpcaseUnicodeChar, WCHAR)
    NT(NTSTATUS, RtlUnicodeToUTF8N, char *, ULONG, ULONG *, const WCHAR *, ULONG)
    NT(NTSTATUS, RtlUTF8ToUnicodeN, WCHAR *, ULONG, ULONG *, const char *, ULONG)
    NT(NTSTATUS, RtlMultiByteToUnicodeN, WCHAR *, ULONG, ULONG *, const char *, ULONG)
    NT(BOOLEAN, RtlIsTextUnicode, const void *, int, int *)
    WCHAR place[16];
    char narrow[16] = "";
    Text w = {6, 8, L"abc"}, to = {0, 6, place};
    Bytes n = {0, 3, narrow}, m;
    ULONG done;
    int seen = 0xf;
    CHECK(RtlUnicodeStringToAnsiString(&n, &w, 0) == OVERFLOWS && n.length == 2 && same(narrow, "ab"))
    CHECK(RtlUnicodeStringToAnsiString(&m, &w, 1) == 0 && m.length == 3 && m.room == 4 && same(m.at, "abc"))
    CHECK(RtlAnsiStringToUnicodeString(&to, &m, 0) == OVERFLOWS)
    to.room = 8;
    CHECK(RtlAnsiStringToUnicodeString(&to, &m, 0) == 0 && to.length == 6 && wide(place, L"abc"))
    RtlFreeAnsiString(&m);
    CHECK(!m.at)
    CHECK(RtlUpcaseUnicodeString(&to, &w, 0) == 0 && wide(place, L"ABC"))
    CHECK(RtlUpcaseUnicodeChar(0xe4) == 0xc4 && RtlUpcaseUnicodeChar(0xb5) == 0xb5 && RtlUpcaseUnicodeChar(0xff) == 0x178)
    CHECK(RtlUnicodeToUTF8N(narrow, 16, &done, L"\xe4\xd83d\xde00\xdc00", 8) == 0x107 && done == 9)
    CHECK((unsigned char)narrow[2] == 0xf0 && (unsigned char)narrow[6] == 0xef)
    CHECK(RtlUnicodeToUTF8N(narrow, 5, &done, L"\xe4\xd83d\xde00", 6) == TOO_SMALL && done == 2)
    CHECK(RtlUTF8ToUnicodeN(place, 32, &done, "a\xc3\xa4\xed\xa0\x80", 6) == 0x107 && done == 8)
    CHECK(place[1] == 0xe4 && place[2] == 0xfffd && place[3] == 0xfffd)
    CHECK(RtlUTF8ToUnicodeN(NULL, 0, &done, "\xf0\x9f\x98\x80", 4) == 0 && done == 4)
    CHECK(RtlMultiByteToUnicodeN(place, 6, &done, "abcdef", 6) == 0 && done == 6 && place[2] == 'c')
    CHECK(WideCharToMultiByte(CP_UTF7, 0, L"a\x263a+", 4, narrow, 16, NULL, NULL) == 9 && same(narrow, "a+Jjo-+-"))
    CHECK(MultiByteToWideChar(CP_UTF7, 0, narrow, -1, place, 16) == 4 && wide(place, L"a\x263a+"))
    SetLastError(0);
    CHECK(!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, "a\xff", 2, place, 16) && GetLastError() == ERROR_NO_UNICODE_TRANSLATION)
    CHECK(RtlIsTextUnicode(L"two words", 18, &seen) && seen == 6 && !RtlIsTextUnicode("two words", 9, NULL))
    return 0;
}

EXPORT int comparisons(void)
{
    NT(LONG, RtlCompareUnicodeString, const Text *, const Text *, BOOLEAN)
    NT(BOOLEAN, RtlEqualUnicodeString, const Text *, const Text *, BOOLEAN)
    NT(BOOLEAN, RtlPrefixUnicodeString, const Text *, const Text *, BOOLEAN)
    NT(NTSTATUS, RtlHashUnicodeString, const Text *, BOOLEAN, ULONG, ULONG *)
    NT(NTSTATUS, RtlFindCharInUnicodeString, ULONG, const Text *, const Text *, USHORT *)
    Text a = {6, 6, L"abc"}, b = {6, 6, L"ABD"}, c = {4, 4, L"AB"};
    ULONG hash;
    USHORT at;
    CHECK(RtlCompareUnicodeString(&a, &b, 0) == 'a' - 'A' && RtlCompareUnicodeString(&a, &b, 1) == -1)
    CHECK(RtlCompareUnicodeString(&a, &c, 1) == 1 && !RtlEqualUnicodeString(&a, &c, 1))
    CHECK(RtlPrefixUnicodeString(&c, &a, 1) && !RtlPrefixUnicodeString(&c, &a, 0) && !RtlPrefixUnicodeString(&a, &c, 1))
    CHECK(RtlHashUnicodeString(&c, 0, 0, &hash) == 0 && hash == 'A' * 65599 + 'B')
    CHECK(RtlHashUnicodeString(&c, 0, 2, &hash) == INVALID && RtlHashUnicodeString(NULL, 0, 0, &hash) == INVALID)
    CHECK(RtlFindCharInUnicodeString(0, &b, &c, &at) == 0 && at == 2)
    CHECK(RtlFindCharInUnicodeString(1, &b, &c, &at) == 0 && at == 2 && RtlFindCharInUnicodeString(2, &b, &c, &at) == 0 && at == 6)
    CHECK(RtlFindCharInUnicodeString(0, &a, &c, &at) == 0xc0000225 && at == 0)
    return 0;
}

EXPORT int numbers(void)
{
    NT(NTSTATUS, RtlCharToInteger, const char *, ULONG, ULONG *)
    NT(NTSTATUS, RtlUnicodeStringToInteger, const Text *, ULONG, ULONG *)
    NT(NTSTATUS, RtlIntegerToChar, ULONG, ULONG, ULONG, char *)
    NT(NTSTATUS, RtlIntegerToUnicodeString, ULONG, ULONG, Text *)
    NT(NTSTATUS, RtlInt64ToUnicodeString, ULONGLONG, ULONG, Text *)
    ULONG n;
    char text[40];
    WCHAR units[40];
    Text from = {8, 8, L"0x1fg"}, to = {0, 20, units};
    CHECK(RtlCharToInteger(" \t-0x1F", 0, &n) == 0 && n == (ULONG)-31)
    CHECK(RtlCharToInteger("0b101", 0, &n) == 0 && n == 5 && RtlCharToInteger("0o17", 0, &n) == 0 && n == 15)
    CHECK(RtlCharToInteger("017", 0, &n) == 0 && n == 17 && RtlCharToInteger("0x1", 16, &n) == 0 && n == 0)
    CHECK(RtlCharToInteger("4294967297", 0, &n) == 0 && n == 1 && RtlCharToInteger("1", 7, &n) == INVALID)
    CHECK(RtlCharToInteger("1", 0, NULL) == 0xc0000005)
    CHECK(RtlUnicodeStringToInteger(&from, 0, &n) == 0 && n == 31)
    CHECK(RtlIntegerToChar(255, 16, 3, text) == 0 && same(text, "FF"))
    CHECK(RtlIntegerToChar(255, 2, 7, text) == OVERFLOWS && RtlIntegerToChar(255, 3, 40, text) == INVALID)
    CHECK(RtlIntegerToUnicodeString(4000000000u, 0, &to) == OVERFLOWS && to.length == 20)
    to.room = sizeof units;
    CHECK(RtlIntegerToUnicodeString(4000000000u, 0, &to) == 0 && wide(units, L"4000000000"))
    CHECK(RtlInt64ToUnicodeString(~0ull, 8, &to) == 0 && wide(units, L"1777777777777777777777"))
    return 0;
}

typedef struct { ULONG size, *words; } Bitmap;
typedef struct { ULONG start, len; } Run;
EXPORT int bits(void)
{
    NT(void, RtlInitializeBitMap, Bitmap *, ULONG *, ULONG)
    NT(void, RtlSetBits, Bitmap *, ULONG, ULONG)
    NT(void, RtlClearBits, Bitmap *, ULONG, ULONG)
    NT(BOOLEAN, RtlAreBitsSet, Bitmap *, ULONG, ULONG)
    NT(ULONG, RtlNumberOfSetBits, Bitmap *)
    NT(ULONG, RtlNumberOfClearBits, Bitmap *)
    NT(ULONG, RtlFindClearBitsAndSet, Bitmap *, ULONG, ULONG)
    NT(ULONG, RtlFindSetBits, Bitmap *, ULONG, ULONG)
    NT(ULONG, RtlFindSetRuns, Bitmap *, Run *, ULONG, BOOLEAN)
    NT(ULONG, RtlFindLongestRunClear, Bitmap *, ULONG *)
    NT(ULONG, RtlFindNextForwardRunSet, Bitmap *, ULONG, ULONG *)
    NT(CCHAR, RtlFindMostSignificantBit, ULONGLONG)
    ULONG words[4] = {0}, at;
    Bitmap map;
    Run runs[4];
    RtlInitializeBitMap(&map, words, 100);
    RtlSetBits(&map, 30, 5);
    RtlSetBits(&map, 90, 11);
    CHECK(words[0] == 0xc0000000 && words[1] == 7 && words[2] == 0)
    RtlSetBits(&map, 90, 2);
    CHECK(RtlAreBitsSet(&map, 30, 5) && !RtlAreBitsSet(&map, 30, 6) && !RtlAreBitsSet(&map, 90, 0) && !RtlAreBitsSet(&map, 99, 2))
    CHECK(RtlNumberOfSetBits(&map) == 7 && RtlNumberOfClearBits(&map) == 93)
    CHECK(RtlFindSetRuns(&map, runs, 4, 1) == 2 && runs[0].start == 30 && runs[0].len == 5 && runs[1].start == 90)
    CHECK(RtlFindLongestRunClear(&map, &at) == 55 && at == 35)
    CHECK(RtlFindNextForwardRunSet(&map, 32, &at) == 3 && at == 32)
    CHECK(RtlFindClearBitsAndSet(&map, 8, 95) == 0 && words[0] == 0xc00000ff)
    CHECK(RtlFindClearBitsAndSet(&map, 56, 0) == ~0u && RtlFindSetBits(&map, 6, 0) == 0)
    RtlClearBits(&map, 0, 31);
    CHECK(words[0] == 0x80000000 && RtlFindMostSignificantBit(1ull << 40) == 40 && RtlFindMostSignificantBit(0) == -1)
    return 0;
}

EXPORT int bytes(void)
{
    NT(SIZE_T, RtlCompareMemory, const void *, const void *, SIZE_T)
    NT(SIZE_T, RtlCompareMemoryUlong, const void *, SIZE_T, ULONG)
    NT(void, RtlFillMemoryUlong, ULONG *, ULONG, ULONG)
    NT(ULONG, RtlComputeCrc32, ULONG, const void *, ULONG)
    NT(ULONG, RtlUniform, ULONG *)
    ULONG words[4] = {7, 7, 7, 8}, seed = 0;
    CHECK(RtlCompareMemory("abcd", "abxd", 4) == 2 && RtlCompareMemoryUlong(words, 16, 7) == 12 && RtlCompareMemoryUlong(words, 7, 7) == 4)
    RtlFillMemoryUlong(words, 11, 9);
    CHECK(words[1] == 9 && words[2] == 7)
    CHECK(RtlComputeCrc32(0, "123456789", 9) == 0xcbf43926 && RtlComputeCrc32(RtlComputeCrc32(0, "1234", 4), "56789", 5) == 0xcbf43926)
    CHECK(RtlUniform(&seed) == 0x7fffffc3 && seed == 0x7fffffc3)
    return 0;
}

static int __cdecl by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
EXPORT int c_functions(void)
{
    NT(LONGLONG, _atoi64, const char *)
    NT(int, atoi, const char *)
    NT(char *, _ltoa, LONG, char *, int)
    NT(long, wcstol, const WCHAR *, WCHAR **, int)
    NT(WCHAR *, wcschr, const WCHAR *, WCHAR)
    NT(int, _wcsicmp, const WCHAR *, const WCHAR *)
    NT(WCHAR, towupper, WCHAR)
    NT(int, sprintf, char *, const char *, ...)
    NT(int, _snwprintf, WCHAR *, SIZE_T, const WCHAR *, ...)
    NT(void, qsort, void *, SIZE_T, SIZE_T, int(__cdecl *)(const void *, const void *))
    char text[40];
    WCHAR units[40], *end;
    int some[] = {5, 3, 9, 1};
    const WCHAR *abc = L"abc";
    CHECK(_atoi64(" -1234567890123") == -1234567890123ll && atoi("4294967297") == 1)
    CHECK(same(_ltoa(-255, text, 16), "ffffff01") && wcstol(L"-0x10z", &end, 0) == -16 && *end == 'z')
    CHECK(wcstol(L"\xff11\x0662", &end, 10) == 12 && wcschr(abc, 'c') == abc + 2 && !wcschr(abc, 'd'))
    CHECK(_wcsicmp(L"ABx", L"abC") == 'x' - 'c' && towupper(0xe4) == 0xc4)
    CHECK(sprintf(text, "%d %s %S %03x", 5, "a", L"b", 10) == 9 && same(text, "5 a b 00a"))
    CHECK(_snwprintf(units, 40, L"%s %S %c%c", L"a", "b", 0xd83d, 0xde00) == 6 && units[4] == 0xd83d && units[5] == 0xde00)
    qsort(some, 4, sizeof *some, by_value);
    CHECK(some[0] == 1 && some[1] == 3 && some[2] == 5 && some[3] == 9)
    return 0;
}

static DWORD message(DWORD flags, const WCHAR *pattern, WCHAR *to, DWORD room, ...)
{
    va_list list;
    va_start(list, room);
    DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_STRING | flags, pattern, 0, 0, to, room, &list);
    va_end(list);
    return n;
}
EXPORT int messages(void)
{
    WCHAR to[80], *block = NULL;
    char narrow[80];
    ULONG_PTR some[] = {(ULONG_PTR)"first", 2, 3};
    CHECK(message(0, L"%1 and %2!04d!%n%3!*.*u!%t%%", to, 80, L"a", 7, 5, 3, 1) == 19 && wide(to, L"a and 0007\r\n  001\t%"))
    CHECK(message(0, L"a\nb\rc\r\nd%0e", to, 80) == 10 && wide(to, L"a\r\nb\r\nc\r\nd"))
    CHECK(message(FORMAT_MESSAGE_MAX_WIDTH_MASK, L"a\nb%nc", to, 80) == 6 && wide(to, L"a b\r\nc"))
    CHECK(message(11, L"short long.line", to, 80) == 16 && wide(to, L"short\r\nlong.line"))
    CHECK(message(FORMAT_MESSAGE_IGNORE_INSERTS, L"%1 %%%n", to, 80) == 7 && wide(to, L"%1 %%\r\n"))
    SetLastError(0);
    CHECK(!message(0, L"100%", to, 80) && GetLastError() == ERROR_INVALID_PARAMETER)
    CHECK(!message(0, L"test", to, 4) && GetLastError() == ERROR_INSUFFICIENT_BUFFER && wide(to, L"tes"))
    CHECK(!message(0, L"%0", to, 4) && GetLastError() == 235)
    CHECK(message(FORMAT_MESSAGE_ALLOCATE_BUFFER, L"%1!d!", (WCHAR *)&block, 0, 12) == 2 && wide(block, L"12"))
    LocalFree(block);
    CHECK(FormatMessageA(FORMAT_MESSAGE_FROM_STRING | FORMAT_MESSAGE_ARGUMENT_ARRAY, "%1 %3!d! %2!d!", 0, 0, narrow, 80, (va_list *)some) == 9)
    CHECK(same(narrow, "first 3 2"))
    CHECK(FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM, NULL, 0x80070005, 0x409, narrow, 80, NULL) && narrow[0] == 'A')
    CHECK(!FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM, NULL, 0x12345678, 0x409, narrow, 80, NULL) && GetLastError() == ERROR_MR_MID_NOT_FOUND)
    CHECK(!FormatMessageA(0, "a", 0, 0, narrow, 80, NULL) && GetLastError() == ERROR_INVALID_PARAMETER)
    return 0;
}

EXPORT int statuses(void)
{
    NT(ULONG, RtlNtStatusToDosError, NTSTATUS)
    NT(NTSTATUS, RtlGetLastNtStatus, void)
    NT(void, RtlSetLastWin32ErrorAndNtStatusFromNtStatus, NTSTATUS)
    CHECK(RtlNtStatusToDosError(0) == 0 && RtlNtStatusToDosError(0xc0000034) == 2 && RtlNtStatusToDosError(0xc0000022) == 5)
    CHECK(RtlNtStatusToDosError(0xc0130002) == 5040 && RtlNtStatusToDosError(0x80000005) == 234 && RtlNtStatusToDosError(0xd0000034) == 2)
    CHECK(RtlNtStatusToDosError(0xc007000e) == 14 && RtlNtStatusToDosError(0xe0001234) == 0xe0001234 && RtlNtStatusToDosError(0xc000ffff) == 317)
    NT(void, RtlGetNtVersionNumbers, ULONG *, ULONG *, ULONG *)
    NT(BOOLEAN, RtlAreAllAccessesGranted, ULONG, ULONG)
    ULONG major, minor, build;
    RtlGetNtVersionNumbers(&major, &minor, &build);
    CHECK(major >= 6 && build >> 28 == 15 && RtlAreAllAccessesGranted(7, 5) && !RtlAreAllAccessesGranted(7, 9))
    RtlSetLastWin32ErrorAndNtStatusFromNtStatus(0xc000000d);
    CHECK(GetLastError() == ERROR_INVALID_PARAMETER && RtlGetLastNtStatus() == INVALID)
    return 0;
}

EXPORT int atoms(void)
{
    NT(NTSTATUS, RtlCreateAtomTable, ULONG, void **)
    NT(NTSTATUS, RtlDestroyAtomTable, void *)
    NT(NTSTATUS, RtlAddAtomToAtomTable, void *, const WCHAR *, USHORT *)
    NT(NTSTATUS, RtlLookupAtomInAtomTable, void *, const WCHAR *, USHORT *)
    NT(NTSTATUS, RtlPinAtomInAtomTable, void *, USHORT)
    NT(NTSTATUS, RtlDeleteAtomFromAtomTable, void *, USHORT)
    NT(NTSTATUS, RtlQueryAtomInAtomTable, void *, USHORT, ULONG *, ULONG *, WCHAR *, ULONG *)
    char text[16];
    WCHAR units[16];
    void *table = NULL;
    USHORT one, two;
    ULONG uses, pins, len = 8;
    ATOM atom = AddAtomA("run-time one");
    CHECK(atom >= 0xc000 && AddAtomW(L"RUN-TIME ONE") == atom && FindAtomA("Run-Time One") == atom)
    CHECK(GetAtomNameA(atom, text, 9) == 8 && same(text, "run-time") && !FindAtomA("run-time two"))
    CHECK(!DeleteAtom(atom) && FindAtomA("run-time one") == atom && !DeleteAtom(atom) && !FindAtomA("run-time one"))
    CHECK(AddAtomA("#77") == 77 && AddAtomA((char *)78) == 78 && !AddAtomA((char *)0xc001) && GetAtomNameW(77, units, 16) == 3)
    CHECK(wide(units, L"#77"))
    CHECK(RtlCreateAtomTable(0, &table) == 0 && *(ULONG *)table == 0x6d6f7441)
    CHECK(RtlAddAtomToAtomTable(table, L"name", &one) == 0 && RtlAddAtomToAtomTable(table, L"NAME", &two) == 0 && one == two)
    CHECK(RtlAddAtomToAtomTable(table, L"", &two) == 0xc0000033 && RtlLookupAtomInAtomTable(table, L"no", &two) == 0xc0000034)
    CHECK(RtlQueryAtomInAtomTable(table, one, &uses, &pins, units, &len) == 0 && uses == 2 && pins == 0 && len == 6 && wide(units, L"nam"))
    CHECK(RtlDeleteAtomFromAtomTable(table, one) == 0 && RtlPinAtomInAtomTable(table, one) == 0)
    CHECK(RtlDeleteAtomFromAtomTable(table, one) == 0x40000019 && RtlLookupAtomInAtomTable(table, L"name", &two) == 0)
    CHECK(RtlDestroyAtomTable(table) == 0)
    return 0;
}

/* What follows the drive of a full path is that, and its last name is there. */
static BOOL full(const char *path, const char *expected, const char *last)
{
    char to[300], *part = NULL;
    DWORD n = GetFullPathNameA(path, sizeof to, to, &part);
    return n == lstrlenA(expected) && same(to, expected) && (last ? part && same(part, last) : !part);
}
EXPORT int paths(void)
{
    NT(ULONG, RtlDetermineDosPathNameType_U, const WCHAR *)
    NT(ULONG, RtlIsDosDeviceName_U, const WCHAR *)
    NT(BOOLEAN, RtlDosPathNameToNtPathName_U, const WCHAR *, Text *, WCHAR **, void *)
    NT(void, RtlFreeUnicodeString, Text *)
    NT(BOOLEAN, RtlIsNameLegalDOS8Dot3, const Text *, Bytes *, BOOLEAN *)
    static const WCHAR *kinds[] = {L"\\\\a", L"c:/a", L"c:a", L"/a", L"a", L"//./a", L"//?"};
    Text name = {16, 16, L"ab c.txt"};
    BOOLEAN blanks = 2;
    WCHAR *part;
    for (int i = 0; i < 7; i++)
        CHECK(RtlDetermineDosPathNameType_U(kinds[i]) == i + 1)
    CHECK(RtlIsDosDeviceName_U(L"c:\\nul.txt") == 0x60006 && RtlIsDosDeviceName_U(L"COM1 :") == 8 && !RtlIsDosDeviceName_U(L"com0"))
    CHECK(full("q:\\a\\..\\b/./c", "q:\\b\\c", "c") && full("q:/a. ..", "q:\\a", "a") && full("q:/a/..", "q:\\", NULL))
    CHECK(full("q:/a./b//c/", "q:\\a\\b\\c\\", NULL) && full("//server/share/a", "\\\\server\\share\\a", "a"))
    CHECK(full("//./a/..", "\\\\.\\", NULL) && full("\\\\?\\a", "\\\\?\\a", "a") && full("q:aux", "\\\\.\\aux", NULL))
    CHECK(RtlDosPathNameToNtPathName_U(L"q:/a/b", &name, &part, NULL) && wide(name.at, L"\\??\\q:\\a\\b") && wide(part, L"b"))
    RtlFreeUnicodeString(&name);
    CHECK(RtlDosPathNameToNtPathName_U(L"//s/h/b", &name, &part, NULL) && wide(name.at, L"\\??\\UNC\\s\\h\\b"))
    RtlFreeUnicodeString(&name);
    CHECK(!RtlDosPathNameToNtPathName_U(L"", &name, &part, NULL))
    name.length = name.room = 16, name.at = L"ab c.txt";
    CHECK(RtlIsNameLegalDOS8Dot3(&name, NULL, &blanks) && blanks == 1)
    name.at = L"abc.txt2";
    CHECK(!RtlIsNameLegalDOS8Dot3(&name, NULL, &blanks))
    return 0;
}

EXPORT int times(void)
{
    NT(void, RtlTimeToTimeFields, const LONGLONG *, short *)
    NT(BOOLEAN, RtlTimeFieldsToTime, const short *, LONGLONG *)
    NT(BOOLEAN, RtlTimeToSecondsSince1970, const LONGLONG *, ULONG *)
    NT(void, RtlSecondsSince1980ToTime, ULONG, LONGLONG *)
    NT(NTSTATUS, NtQuerySystemTime, LONGLONG *)
    LONGLONG time = 126444660001230000, back = 0; /* 2001-09-08 23:40:00.123, a Saturday */
    short fields[8];
    ULONG seconds;
    RtlTimeToTimeFields(&time, fields);
    CHECK(fields[0] == 2001 && fields[1] == 9 && fields[2] == 8 && fields[3] == 23 && fields[4] == 40 && !fields[5] && fields[6] == 123 && fields[7] == 6)
    CHECK(RtlTimeFieldsToTime(fields, &back) && back == time)
    CHECK(RtlTimeToSecondsSince1970(&time, &seconds) && seconds == 999992400)
    fields[1] = 13;
    CHECK(!RtlTimeFieldsToTime(fields, &back))
    RtlSecondsSince1980ToTime(1, &time);
    /* An hour west of Greenwich, with summer time from March to October. */
    TIME_ZONE_INFORMATION zone = {60, L"", {0, 10, 0, 5, 3}, 0, L"", {0, 3, 0, 5, 2}, -60};
    SYSTEMTIME winter = {2024, 3, 0, 31, 2, 59}, summer = {2024, 3, 0, 31, 3, 0}, there;
    CHECK(SystemTimeToTzSpecificLocalTime(&zone, &winter, &there) && there.wHour == 1 && there.wMinute == 59 && there.wDayOfWeek == 0)
    CHECK(SystemTimeToTzSpecificLocalTime(&zone, &summer, &there) && there.wHour == 3)
    CHECK(TzSpecificLocalTimeToSystemTime(&zone, &there, &winter) && winter.wHour == 3 && winter.wMinute == 0)
    summer.wMonth = 13;
    CHECK(!TzSpecificLocalTimeToSystemTime(&zone, &summer, &there))
    CHECK(time == 119600064010000000 && NtQuerySystemTime(&time) == 0 && time > 126444660001230000)
    return 0;
}

EXPORT int environments(void)
{
    NT(NTSTATUS, RtlCreateEnvironment, BOOLEAN, WCHAR **)
    NT(NTSTATUS, RtlDestroyEnvironment, WCHAR *)
    NT(NTSTATUS, RtlSetEnvironmentVariable, WCHAR **, const Text *, const Text *)
    NT(NTSTATUS, RtlQueryEnvironmentVariable_U, WCHAR *, const Text *, Text *)
    NT(NTSTATUS, RtlExpandEnvironmentStrings_U, WCHAR *, const Text *, Text *, ULONG *)
    WCHAR *own = NULL, units[16];
    Text b = {2, 2, L"b"}, a = {2, 2, L"A"}, value = {6, 6, L"x=y"}, out = {0, 32, units}, text = {14, 14, L"<%a%>%c"};
    ULONG len;
    CHECK(RtlCreateEnvironment(0, &own) == 0 && !own[0])
    CHECK(RtlSetEnvironmentVariable(&own, &b, &value) == 0 && RtlSetEnvironmentVariable(&own, &a, &value) == 0)
    CHECK(lstrlenW(own) == 5 && lstrlenW(own + 6) == 5 && !own[12])
    CHECK(RtlQueryEnvironmentVariable_U(own, &b, &out) == 0 && out.length == 6 && wide(units, L"x=y"))
    CHECK(RtlExpandEnvironmentStrings_U(own, &text, &out, &len) == 0 && len == 16 && wide(units, L"<x=y>%c"))
    out.room = 14;
    CHECK(RtlExpandEnvironmentStrings_U(own, &text, &out, &len) == TOO_SMALL && len == 16)
    out.room = 4;
    CHECK(RtlQueryEnvironmentVariable_U(own, &b, &out) == TOO_SMALL && out.length == 6)
    CHECK(RtlSetEnvironmentVariable(&own, &b, NULL) == 0 && RtlQueryEnvironmentVariable_U(own, &b, &out) == 0xc0000100)
    CHECK(RtlSetEnvironmentVariable(&own, &value, &a) == INVALID && RtlDestroyEnvironment(own) == 0)
    return 0;
}

EXPORT int addresses_and_identifiers(void)
{
    NT(NTSTATUS, RtlIpv4StringToAddressA, const char *, BOOLEAN, const char **, unsigned char *)
    NT(NTSTATUS, RtlIpv4StringToAddressExA, const char *, BOOLEAN, unsigned char *, USHORT *)
    NT(NTSTATUS, RtlIpv6StringToAddressExW, const WCHAR *, unsigned char *, ULONG *, USHORT *)
    NT(NTSTATUS, RtlIpv6AddressToStringExA, const unsigned char *, ULONG, USHORT, char *, ULONG *)
    NT(NTSTATUS, RtlGUIDFromString, const Text *, GUID *)
    NT(NTSTATUS, RtlStringFromGUID, const GUID *, Text *)
    NT(void, RtlFreeUnicodeString, Text *)
    unsigned char at[16];
    const char *end, *local = "127.0.1x";
    char text[64];
    ULONG scope, room = 64;
    USHORT port;
    GUID guid;
    Text from = {76, 76, L"{01020304-0506-0708-090A-0B0C0D0E0F10}"}, made;
    CHECK(RtlIpv4StringToAddressA(local, 0, &end, at) == 0 && end == local + 7 && *(ULONG *)at == 0x0100007f)
    CHECK(RtlIpv4StringToAddressA("127.0.1", 1, &end, at) == INVALID && RtlIpv4StringToAddressA("1.2.3.256", 1, &end, at) == INVALID)
    CHECK(RtlIpv4StringToAddressExA("1.2.3.4:80", 1, at, &port) == 0 && port == 0x5000 && RtlIpv4StringToAddressExA("1.2.3.4:", 1, at, &port) == INVALID)
    CHECK(RtlIpv6StringToAddressExW(L"[fe80::1%7]:443", at, &scope, &port) == 0 && scope == 7 && port == 0xbb01 && at[0] == 0xfe && at[15] == 1)
    CHECK(RtlIpv6AddressToStringExA(at, scope, port, text, &room) == 0 && same(text, "[fe80::1%7]:443") && room == 16)
    CHECK(RtlIpv6StringToAddressExW(L"::fffff", at, &scope, &port) == INVALID)
    CHECK(RtlGUIDFromString(&from, &guid) == 0 && guid.Data1 == 0x01020304 && guid.Data4[7] == 0x10)
    CHECK(RtlStringFromGUID(&guid, &made) == 0 && wide(made.at, from.at) && made.length == 76)
    RtlFreeUnicodeString(&made);
    from.at = L"{01020304-0506-0708-090A-0B0C0D0E0F10]";
    CHECK(RtlGUIDFromString(&from, &guid) == INVALID)
    return 0;
}

EXPORT int initialization_files(void)
{
    static const char content[] = "; head\r\n[One]\r\n a = 1 \r\n;b=2\r\nc='x y'\r\n[two]\r\n";
    char folder[MAX_PATH], file[MAX_PATH], buffer[64];
    DWORD n;
    CHECK(GetTempPathA(MAX_PATH, folder) && GetTempFileNameA(folder, "ini", 0, file))
    HANDLE h = CreateFileA(file, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    CHECK(h != INVALID_HANDLE_VALUE && WriteFile(h, content, sizeof content - 1, &n, NULL) && CloseHandle(h))
    CHECK(GetPrivateProfileStringA("ONE", "A", "-", buffer, 64, file) == 1 && same(buffer, "1"))
    CHECK(GetPrivateProfileStringA("one", "b", "none  ", buffer, 64, file) == 4 && same(buffer, "none"))
    CHECK(GetPrivateProfileStringA("one", "c", "", buffer, 3, file) == 2 && same(buffer, "x "))
    CHECK(GetPrivateProfileStringA("one", NULL, "", buffer, 64, file) == 4 && buffer[0] == 'a' && buffer[2] == 'c' && !buffer[4])
    CHECK(GetPrivateProfileSectionNamesA(buffer, 64, file) == 8 && same(buffer + 4, "two"))
    CHECK(WritePrivateProfileStringA("one", "d", "0x10", file) && GetPrivateProfileIntA("one", "d", 5, file) == 16)
    CHECK(WritePrivateProfileStringA("three", "e", "-7", file) && GetPrivateProfileIntA("three", "e", 5, file) == (UINT)-7)
    CHECK(GetPrivateProfileIntA("three", "f", 5, file) == 5 && WritePrivateProfileStringA("three", "e", NULL, file))
    CHECK(WritePrivateProfileStringA("one", NULL, NULL, file) && GetPrivateProfileSectionNamesA(buffer, 64, file) == 10)
    CHECK(WritePrivateProfileStructA("two", "s", "ab", 2, file) && GetPrivateProfileStringA("two", "s", "", buffer, 64, file) == 6)
    CHECK(same(buffer, "6162C3") && GetPrivateProfileStructA("two", "s", buffer, 2, file) && !GetPrivateProfileStructA("two", "s", buffer, 3, file))
    CHECK(DeleteFileA(file) && GetPrivateProfileStringA("one", "a", NULL, buffer, 64, file) == 0)
    return 0;
}
