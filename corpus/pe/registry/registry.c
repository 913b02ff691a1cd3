/* The registry. Each function here works below a key of its own, which it makes and deletes, and answers 0, or the line of the
   first thing that is not as Microsoft's reference, or where that is silent Wine, has it. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call answers with this error, which is no last error. */
#define GIVES(call, error) CHECK((SetLastError(4711), (call) == (error)) && GetLastError() == 4711)
#define DONE(call) GIVES(call, ERROR_SUCCESS)

static HKEY top;
static DWORD how;
static BOOL begin(void)
{
    RegDeleteTreeW(HKEY_CURRENT_USER, L"Software\\corpus-registry");
    return !RegCreateKeyExW(HKEY_CURRENT_USER, L"Software\\corpus-registry", 0, 0, 0, KEY_ALL_ACCESS, 0, &top, &how) && how == REG_CREATED_NEW_KEY;
}
static int end(void)
{
    CHECK(!RegCloseKey(top) && !RegDeleteTreeW(HKEY_CURRENT_USER, L"Software\\corpus-registry"))
    return 0;
}
static BOOL same(const void *a, const void *b, int n)
{
    const char *x = a, *y = b;
    while (n && *x == *y)
        x++, y++, n--;
    return !n;
}

EXPORT int keys(void)
{
    HKEY one, again;
    CHECK(begin())
    DONE(RegCreateKeyExW(top, L"One\\Two\\", 0, 0, 0, KEY_ALL_ACCESS, 0, &one, &how))
    CHECK(how == REG_CREATED_NEW_KEY)
    DONE(RegCreateKeyExA(top, "ONE\\two", 0, 0, 0, KEY_ALL_ACCESS, 0, &again, &how))
    CHECK(how == REG_OPENED_EXISTING_KEY && again != one)
    DONE(RegCloseKey(again))
    DONE(RegOpenKeyExW(top, L"one", 0, KEY_READ, &again))
    DONE(RegCloseKey(again))
    DONE(RegOpenKeyExW(one, L"", 0, KEY_READ, &again))
    DONE(RegCloseKey(again))
    DONE(RegOpenKeyExW(one, 0, 0, KEY_READ, &again))
    DONE(RegCloseKey(again))
    DONE(RegOpenKeyA(top, "one\\two", &again))
    DONE(RegCloseKey(again))
    DONE(RegFlushKey(one))
    DONE(RegDeleteKeyW(top, L"one\\TWO"))
    GIVES(RegOpenKeyExW(top, L"one\\two", 0, KEY_READ, &again), ERROR_FILE_NOT_FOUND)
    GIVES(RegQueryValueExW(one, L"x", 0, 0, 0, 0), ERROR_KEY_DELETED)
    DONE(RegCloseKey(one))
    DONE(RegCloseKey(HKEY_CURRENT_USER))
    return end();
}

EXPORT int keys_refused(void)
{
    HKEY one, none;
    CHECK(begin())
    DONE(RegCreateKeyExW(top, L"a\\b", 0, 0, 0, KEY_ALL_ACCESS, 0, &one, 0))
    GIVES(RegOpenKeyExW(top, L"b", 0, KEY_READ, &none), ERROR_FILE_NOT_FOUND)
    GIVES(RegOpenKeyExW((HKEY)0x4711, L"b", 0, KEY_READ, &none), ERROR_INVALID_HANDLE)
    GIVES(RegOpenKeyExW(top, L"b", 0, KEY_READ, 0), ERROR_INVALID_PARAMETER)
    GIVES(RegDeleteKeyW(top, L"a"), ERROR_ACCESS_DENIED)
    GIVES(RegDeleteKeyW(top, L"c"), ERROR_FILE_NOT_FOUND)
    GIVES(RegDeleteKeyW(top, 0), ERROR_INVALID_PARAMETER)
    GIVES(RegCloseKey((HKEY)0x4711), ERROR_INVALID_HANDLE)
    GIVES(RegCloseKey(0), ERROR_INVALID_HANDLE)
    DONE(RegCloseKey(one))
    GIVES(RegCloseKey(one), ERROR_INVALID_HANDLE)
    return end();
}

EXPORT int values(void)
{
    WCHAR text[20];
    DWORD number = 0x12345678, kind = 0, len = sizeof text;
    CHECK(begin())
    DONE(RegSetValueExW(top, L"Text", 0, REG_SZ, (void *)L"abc", 8))
    DONE(RegQueryValueExW(top, L"TEXT", 0, &kind, (void *)text, &len))
    CHECK(kind == REG_SZ && len == 8 && same(text, L"abc", 8))
    DONE(RegSetValueExW(top, L"number", 0, REG_DWORD, (void *)&number, 4))
    number = 0, len = 4;
    DONE(RegQueryValueExW(top, L"number", 0, &kind, (void *)&number, &len))
    CHECK(kind == REG_DWORD && len == 4 && number == 0x12345678)
    DONE(RegSetValueExW(top, 0, 0, REG_BINARY, (void *)"12345", 5))
    len = 0;
    DONE(RegQueryValueExW(top, L"", 0, &kind, 0, &len))
    CHECK(kind == REG_BINARY && len == 5)
    DONE(RegQueryValueExW(top, 0, 0, 0, 0, 0))
    DONE(RegSetValueExW(top, L"number", 0, REG_SZ, 0, 0))
    len = 7;
    DONE(RegQueryValueExW(top, L"number", 0, &kind, (void *)text, &len))
    CHECK(kind == REG_SZ && len == 0)
    DONE(RegSetValueExW(top, L"raw", 0, REG_SZ, (void *)L"abc", 4))
    len = sizeof text;
    DONE(RegQueryValueExW(top, L"raw", 0, &kind, (void *)text, &len))
    CHECK(len == 4 && same(text, L"ab", 4))
    DONE(RegSetValueExW(top, L"raw", 0, REG_SZ, (void *)L"ab", 4)) /* its zero is not counted here */
    len = sizeof text;
    DONE(RegQueryValueExW(top, L"raw", 0, &kind, (void *)text, &len))
    CHECK(len == 6 && same(text, L"ab", 6))
    DONE(RegDeleteValueW(top, L"RAW"))
    GIVES(RegDeleteValueW(top, L"raw"), ERROR_FILE_NOT_FOUND)
    return end();
}

EXPORT int values_refused(void)
{
    char room[8];
    DWORD kind = 0, len = 3;
    CHECK(begin())
    DONE(RegSetValueExW(top, L"b", 0, REG_BINARY, (void *)"12345", 5))
    GIVES(RegQueryValueExW(top, L"b", 0, &kind, room, &len), ERROR_MORE_DATA)
    CHECK(kind == REG_BINARY && len == 5)
    GIVES(RegQueryValueExW(top, L"b", 0, &kind, room, 0), ERROR_INVALID_PARAMETER)
    GIVES(RegQueryValueExW(top, L"c", 0, &kind, 0, &len), ERROR_FILE_NOT_FOUND)
    GIVES(RegQueryValueExW(top, 0, 0, &kind, 0, &len), ERROR_FILE_NOT_FOUND)
    GIVES(RegQueryValueExW((HKEY)0x4711, L"b", 0, &kind, 0, &len), ERROR_INVALID_HANDLE)
    GIVES(RegSetValueExW((HKEY)0x4711, L"b", 0, REG_SZ, (void *)L"", 2), ERROR_INVALID_HANDLE)
    GIVES(RegDeleteValueW((HKEY)0x4711, L"b"), ERROR_INVALID_HANDLE)
    return end();
}

EXPORT int ansi(void)
{
    WCHAR wide[20];
    char text[20];
    DWORD kind = 0, len = sizeof wide;
    CHECK(begin())
    DONE(RegSetValueExA(top, "name", 0, REG_SZ, (void *)"abc", 4))
    DONE(RegQueryValueExW(top, L"name", 0, &kind, (void *)wide, &len))
    CHECK(kind == REG_SZ && len == 8 && same(wide, L"abc", 8))
    len = sizeof text;
    DONE(RegQueryValueExA(top, "NAME", 0, &kind, (void *)text, &len))
    CHECK(len == 4 && same(text, "abc", 4))
    len = 3;
    GIVES(RegQueryValueExA(top, "name", 0, &kind, (void *)text, &len), ERROR_MORE_DATA)
    CHECK(len == 4)
    DONE(RegSetValueExA(top, "list", 0, REG_MULTI_SZ, (void *)"a\0b\0", 5))
    len = sizeof wide;
    DONE(RegQueryValueExW(top, L"list", 0, &kind, (void *)wide, &len))
    CHECK(len == 10 && same(wide, L"a\0b\0", 10))
    DONE(RegSetValueExA(top, "bytes", 0, REG_BINARY, (void *)"\xff\x00\xfe", 3))
    len = sizeof text;
    DONE(RegQueryValueExA(top, "bytes", 0, &kind, (void *)text, &len))
    CHECK(len == 3 && same(text, "\xff\x00\xfe", 3))
    return end();
}

EXPORT int lists(void)
{
    WCHAR name[20];
    char narrow[20];
    DWORD len, longest, count, data, kind, n;
    HKEY key;
    FILETIME when = {0, 0};
    CHECK(begin())
    DONE(RegCreateKeyW(top, L"bb", &key))
    DONE(RegCloseKey(key))
    DONE(RegCreateKeyA(top, "Aaa", &key))
    DONE(RegCloseKey(key))
    DONE(RegSetValueExW(top, L"value", 0, REG_BINARY, (void *)"12345", 5))
    len = 20;
    DONE(RegEnumKeyExW(top, 0, name, &len, 0, 0, 0, &when))
    CHECK(len == 3 && same(name, L"Aaa", 8) && when.dwHighDateTime)
    len = 20;
    DONE(RegEnumKeyExA(top, 1, narrow, &len, 0, 0, 0, 0))
    CHECK(len == 2 && same(narrow, "bb", 3))
    len = 20;
    GIVES(RegEnumKeyExW(top, 2, name, &len, 0, 0, 0, 0), ERROR_NO_MORE_ITEMS)
    len = 3;
    GIVES(RegEnumKeyExW(top, 0, name, &len, 0, 0, 0, 0), ERROR_MORE_DATA)
    len = 20, n = 20;
    DONE(RegEnumValueW(top, 0, name, &len, 0, &kind, (void *)narrow, &n))
    CHECK(len == 5 && same(name, L"value", 12) && kind == REG_BINARY && n == 5 && same(narrow, "12345", 5))
    len = 20;
    GIVES(RegEnumValueW(top, 1, name, &len, 0, 0, 0, 0), ERROR_NO_MORE_ITEMS)
    len = 5;
    GIVES(RegEnumValueW(top, 0, name, &len, 0, 0, 0, 0), ERROR_MORE_DATA)
    DONE(RegQueryInfoKeyW(top, 0, 0, 0, &count, &longest, 0, &n, &len, &data, 0, &when))
    CHECK(count == 2 && longest == 3 && n == 1 && len == 5 && data == 5)
    GIVES(RegQueryInfoKeyW((HKEY)0x4711, 0, 0, 0, &count, 0, 0, 0, 0, 0, 0, 0), ERROR_INVALID_HANDLE)
    return end();
}

EXPORT int got(void)
{
    WCHAR text[20];
    DWORD number = 7, kind = 0, len = sizeof text;
    CHECK(begin())
    SetEnvironmentVariableW(L"CORPUS_REGISTRY", L"xyz");
    DONE(RegSetValueExW(top, L"text", 0, REG_SZ, (void *)L"ab", 4))
    DONE(RegSetValueExW(top, L"path", 0, REG_EXPAND_SZ, (void *)L"<%CORPUS_REGISTRY%>", 40))
    DONE(RegSetValueExW(top, L"number", 0, REG_DWORD, (void *)&number, 4))
    DONE(RegGetValueW(HKEY_CURRENT_USER, L"Software\\corpus-registry", L"text", RRF_RT_REG_SZ, &kind, text, &len))
    CHECK(kind == REG_SZ && len == 6 && same(text, L"ab", 6))
    len = sizeof text;
    DONE(RegGetValueW(top, 0, L"path", RRF_RT_REG_SZ, &kind, text, &len))
    CHECK(kind == REG_SZ && same(text, L"<xyz>", 12))
    len = sizeof text;
    DONE(RegGetValueW(top, 0, L"path", RRF_RT_REG_EXPAND_SZ | RRF_NOEXPAND, &kind, 0, &len))
    CHECK(kind == REG_EXPAND_SZ && len == 40)
    len = sizeof text;
    GIVES(RegGetValueW(top, 0, L"text", RRF_RT_REG_DWORD, &kind, text, &len), ERROR_UNSUPPORTED_TYPE)
    len = 4, number = 0;
    DONE(RegGetValueW(top, 0, L"number", RRF_RT_ANY, &kind, &number, &len))
    CHECK(kind == REG_DWORD && number == 7)
    len = 2;
    GIVES(RegGetValueW(top, 0, L"number", RRF_RT_REG_DWORD, 0, &number, &len), ERROR_MORE_DATA)
    CHECK(len == 4)
    GIVES(RegGetValueW(top, L"none", L"number", RRF_RT_REG_DWORD, 0, &number, &len), ERROR_FILE_NOT_FOUND)
    GIVES(RegGetValueW(top, 0, L"none", RRF_RT_REG_DWORD, 0, &number, &len), ERROR_FILE_NOT_FOUND)
    GIVES(RegGetValueW(top, 0, L"text", RRF_RT_REG_EXPAND_SZ, 0, text, &len), ERROR_INVALID_PARAMETER)
    return end();
}

EXPORT int trees(void)
{
    HKEY key;
    DWORD keys, values;
    CHECK(begin())
    DONE(RegCreateKeyW(top, L"a\\b\\c", &key))
    DONE(RegCloseKey(key))
    DONE(RegCreateKeyW(top, L"d", &key))
    DONE(RegSetValueExW(key, L"v", 0, REG_SZ, (void *)L"", 2))
    DONE(RegDeleteTreeW(top, L"a"))
    GIVES(RegOpenKeyW(top, L"a", &key), ERROR_FILE_NOT_FOUND)
    DONE(RegDeleteTreeW(top, 0))
    DONE(RegQueryInfoKeyW(top, 0, 0, 0, &keys, 0, 0, &values, 0, 0, 0, 0))
    CHECK(keys == 0 && values == 0)
    GIVES(RegDeleteTreeW(top, L"none"), ERROR_FILE_NOT_FOUND)
    return end();
}
