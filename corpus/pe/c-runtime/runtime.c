/* What a program may expect of the C runtime and of KERNEL32's texts and files. Each function tries one part and answers 0,
   or the line of the first thing that is not as Microsoft's reference says. Built twice: with msvcrt.dll, whose functions
   write numbers in their own old way, and with ucrtbase.dll (UNIVERSAL). */
#define __USE_MINGW_ANSI_STDIO 0
#include <windows.h>
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <wchar.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))
#define SAYS(text, expected) CHECK(strcmp(text, expected) == 0)

static char text[300];

#ifdef UNIVERSAL
static int written(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    return __stdio_common_vsprintf(2, text, sizeof text, format, NULL, list);
}
static int scanned(const char *from, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    return __stdio_common_vsscanf(0, from, -1, format, NULL, list);
}
#else
#define written(...) sprintf(text, __VA_ARGS__)
#define scanned sscanf
#endif

EXPORT int numbers_in_texts(void)
{
    static const double zero = 0;
    static const unsigned long long no_number = 0xfff8000000000000;
    volatile double huge = 1 / *(volatile double *)&zero, none = *(double *)&no_number;
    written("%d %5u %-4x| %+i %lld %I64d %s %c", -5, 7u, 255, 3, 1LL << 40, -1LL, "text", 'c');
    SAYS(text, "-5     7 ff  | +3 1099511627776 -1 text c")
    written("%a", 1.5);
    SAYS(text, "0x1.8000000000000p+0")
#ifdef UNIVERSAL
    written("%e %g %.0e", 1.5, 1e-10, 1e100);
    SAYS(text, "1.500000e+00 1e-10 1e+100")
    written("%f %08.2e %f", huge, huge, none);
    SAYS(text, "inf      inf -nan(ind)")
    written("%hhd", 0x1ff);
    SAYS(text, "-1")
#else
    written("%e %g %.0e", 1.5, 1e-10, 1e100);
    SAYS(text, "1.500000e+000 1e-010 1e+100")
    written("%f %e %g %f", huge, huge, huge, none);
    SAYS(text, "1.#INF00 1.#INF00e+000 1.#INF -1.#IND00")
    written("%hhd", 0x1ff);
    SAYS(text, "511")
    CHECK(_scprintf("%s%d", "abc", 12) == 5)
    CHECK(sprintf_s(text, 6, "%s%d", "abc", 12) == 5)
    CHECK(sprintf_s(text, 5, "%s%d", "abc", 12) == -1 && text[0] == 0)
    CHECK(_snprintf_s(text, 10, 2, "%s", "abc") == -1)
    SAYS(text, "ab")
#endif
    return 0;
}

EXPORT int texts_in_numbers(void)
{
    char *end;
    const char *from = "0xg";
    wchar_t wide[8];
    CHECK((errno = 0, strtol(from, &end, 16)) == 0 && end == from && errno == 0)
    CHECK((errno = 0, strtod("1e400", &end)) > 1e308 && errno == ERANGE)
    CHECK((errno = 0, strtod("-1e-400", &end)) == 0 && errno == ERANGE)
    CHECK((errno = 0, strtod("0e-400x", &end)) == 0 && errno == 0 && *end == 'x')
    CHECK(wcscmp(_itow(-255, wide, 16), L"ffffff01") == 0)
    CHECK(_itoa_s(5, text, 10, 37) == EINVAL && text[0] == 0)
    CHECK(_rotl(0x80000001, 4) == 0x18)
    return 0;
}

EXPORT int scanning(void)
{
    int a = 0, b = 0;
    double x = 0;
    char word[8] = "", rest[8] = "";
    CHECK(scanned("12 -0x1f 2.5e1 word]", "%d %i %lf %[a-z]%s", &a, &b, &x, word, rest) == 5)
    CHECK(a == 12 && b == -31 && x == 25 && strcmp(word, "word") == 0 && strcmp(rest, "]") == 0)
    CHECK(scanned("", "%d", &a) == -1 && scanned("x", "%d", &a) == 0 && scanned("-", "%d", &a) == 0)
    CHECK(scanned("a ", "%*s %d", &a) == 0)
#ifndef UNIVERSAL
    CHECK(swscanf(L"7 x", L"%d %hs", &a, word) == 2 && a == 7 && strcmp(word, "x") == 0)
#endif
    return 0;
}

static int by_number(const void *a, const void *b) { return *(int *)a - *(int *)b; }

EXPORT int texts(void)
{
    size_t n = 9;
    wchar_t wide[8];
    int numbers[] = {5, 3, 9}, key = 9;
    unsigned count = 3;
    char drive[_MAX_DRIVE], folder[_MAX_DIR], name[_MAX_FNAME], end[_MAX_EXT];
    CHECK(strcmp("c", "a") == 1 && strcmp("a", "\xff") == -1 && memcmp("c", "a", 1) == 1)
    CHECK(strcpy_s(text, 3, NULL) == EINVAL && text[0] == 0 && strcpy_s(text, 3, "abc") == ERANGE)
    CHECK(strncpy_s(text, 3, "abc", _TRUNCATE) == 80 && strcmp(text, "ab") == 0)
    CHECK(memmove_s(text, 2, "xyz", 3) == ERANGE && text[0] == 'a')
    CHECK(mbstowcs_s(&n, NULL, 0, "abc", 0) == 0 && n == 4)
    CHECK(mbstowcs_s(&n, wide, 3, "abc", _TRUNCATE) == 80 && n == 3 && wcscmp(wide, L"ab") == 0)
    CHECK(_wcsicmp(L"\xc9", L"\xe9") != 0 && _wcsicmp(L"ABC", L"abc") == 0)
    CHECK(_lfind(&key, numbers, &count, sizeof key, by_number) == numbers + 2)
    _splitpath("c:\\a\\b.c.txt", drive, folder, name, end);
    CHECK(!strcmp(drive, "c:") && !strcmp(folder, "\\a\\") && !strcmp(name, "b.c") && !strcmp(end, ".txt"))
    _makepath(text, "c", "a", "b", "txt");
    SAYS(text, "c:a\\b.txt")
    return 0;
}

EXPORT int dates(void)
{
    struct tm day = {40, 46, 1, 9, 8, 101, 0, 251, 0};
    WORD date, clock;
    FILETIME time;
    SYSTEMTIME parts = {2001, 9, 0, 9, 1, 46, 40, 0};
    CHECK(strftime(text, sizeof text, "%#d %#H %#x", &day) == 30)
    SAYS(text, "9 1 Sunday, September 09, 2001")
    strftime(text, sizeof text, "%c", &day);
#ifdef UNIVERSAL
    SAYS(text, "Sun Sep  9 01:46:40 2001")
#else
    SAYS(text, "09/09/01 01:46:40")
#endif
    CHECK(_gmtime64(NULL) == NULL && asctime_s(text, 25, &day) == EINVAL)
    CHECK(SystemTimeToFileTime(&parts, &time) && FileTimeToDosDateTime(&time, &date, &clock))
    CHECK(date == (21 << 9 | 9 << 5 | 9) && clock == (1 << 11 | 46 << 5 | 20))
    CHECK(MulDiv(10, 3, 4) == 8 && MulDiv(-10, 3, 4) == -8 && MulDiv(1, 1, 0) == -1)
    return 0;
}

/* A name in the folder for temporary files. */
static char *named(char *place, const char *name)
{
    char folder[MAX_PATH];
    GetTempPathA(sizeof folder, folder);
    strcpy(place, folder);
    itoa(GetCurrentProcessId(), place + strlen(place), 36);
    return strcat(place, name);
}

EXPORT int text_files(void)
{
    char path[MAX_PATH];
    struct _stat64 known;
    FILE *file = fopen(named(path, "t.txt"), "w");
    int number;
    CHECK(file && fputs("one\ntwo\n", file) >= 0 && ftell(file) == 10 && fclose(file) == 0)
    CHECK(_stat64(path, &known) == 0 && known.st_size == 10 && known.st_mode == 0100666)
    CHECK((file = fopen(path, "rb")) && fread(text, 1, 20, file) == 10 && !memcmp(text, "one\r\ntwo\r\n", 10))
    fclose(file);
    CHECK((file = fopen(path, "r")) && fgets(text, 20, file) && !strcmp(text, "one\n") && ftell(file) == 5)
    CHECK(fgetc(file) == 't' && ungetc('T', file) == 'T' && fread(text, 1, 20, file) == 4 && !memcmp(text, "Two\n", 4))
    CHECK(feof(file) && fclose(file) == 0)
    CHECK((file = fopen(path, "wb")) && fwrite("a\x1a" "b", 1, 3, file) == 3 && fclose(file) == 0)
    CHECK((file = fopen(path, "r")) && fgetc(file) == 'a' && fgetc(file) == EOF && feof(file) && fclose(file) == 0)
    CHECK((number = _open(path, _O_WRONLY | _O_TRUNC)) > 2 && _write(number, "x\ny", 3) == 3 && _close(number) == 0)
    CHECK((number = _open(path, _O_RDONLY | _O_BINARY)) > 2 && _read(number, text, 9) == 4 && _close(number) == 0)
    CHECK((number = _open(path, _O_RDONLY)) > 2 && _read(number, text, 2) == 1 && _read(number, text, 9) == 2)
    CHECK(_setmode(number, _O_BINARY) == _O_TEXT && _eof(number) == 1 && _close(number) == 0)
    CHECK((file = fopen(path, "wb")) && fputws(L"ab", file) >= 0 && ftell(file) == 4 && fclose(file) == 0)
    CHECK(_chmod(path, _S_IREAD) == 0 && remove(path) == -1 && errno == EACCES)
    CHECK(_chmod(path, _S_IREAD | _S_IWRITE) == 0 && remove(path) == 0)
    CHECK((errno = 0, fopen(path, "q")) == NULL && errno == EINVAL)
    return 0;
}

EXPORT int files(void)
{
    char one[MAX_PATH], two[MAX_PATH];
    WIN32_FIND_DATAA found;
    HANDLE file = CreateFileA(named(one, "a.bin"), GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    DWORD n;
    named(two, "b.bin");
    CHECK(file != INVALID_HANDLE_VALUE && WriteFile(file, "abc", 3, &n, NULL))
    FAILS(ReadFile(file, text, 1, &n, NULL), ERROR_ACCESS_DENIED)
    CHECK(SetFilePointer(file, -9, NULL, FILE_CURRENT) == INVALID_SET_FILE_POINTER && GetLastError() == ERROR_NEGATIVE_SEEK)
    CHECK(CloseHandle(file) && GetFileAttributesA(one) == FILE_ATTRIBUTE_ARCHIVE)
    CHECK(CopyFileA(one, two, TRUE))
    FAILS(CopyFileA(one, two, TRUE), ERROR_FILE_EXISTS)
    FAILS(MoveFileA(one, two), ERROR_ALREADY_EXISTS)
    CHECK((file = FindFirstFileA(two, &found)) != INVALID_HANDLE_VALUE && found.nFileSizeLow == 3 && FindClose(file))
    CHECK(SetFileAttributesA(two, FILE_ATTRIBUTE_READONLY))
    FAILS(DeleteFileA(two), ERROR_ACCESS_DENIED)
    FAILS(RemoveDirectoryA(two), ERROR_DIRECTORY)
    CHECK(SetFileAttributesA(two, FILE_ATTRIBUTE_NORMAL) && DeleteFileA(two) && DeleteFileA(one))
    FAILS(DeleteFileA(one), ERROR_FILE_NOT_FOUND)
    FAILS(CreateDirectoryA(strcat(one, "\\x"), NULL), ERROR_PATH_NOT_FOUND)
    CHECK(CreateFileA("a*b", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE && GetLastError() == ERROR_INVALID_NAME)
    CHECK(CreateFileA(".", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE && GetLastError() == ERROR_ACCESS_DENIED)
    CHECK(GetFullPathNameA("Z:\\a\\.\\b\\..\\c\\", sizeof text, text, NULL) == 7)
    SAYS(text, "Z:\\a\\c\\")
    return 0;
}

EXPORT int messages(void)
{
    DWORD_PTR arguments[] = {(DWORD_PTR) "one", 2};
    wchar_t wide[4];
    CHECK(FormatMessageA(FORMAT_MESSAGE_FROM_STRING | FORMAT_MESSAGE_ARGUMENT_ARRAY, "%1 and %2!03d!%n%%", 0, 0, text, sizeof text, (va_list *)arguments) == 14)
    SAYS(text, "one and 002\r\n%")
    CHECK(lstrcmpA("a", "B") == -1 && lstrcmpA("a", "A") == -1 && lstrcmpiA("a", "A") == 0 && lstrcmpA(NULL, "a") == -1)
    CHECK(CompareStringOrdinal(L"a", -1, L"B", -1, FALSE) == CSTR_GREATER_THAN)
    CHECK(lstrcpynA(text, "abcdef", 4) == text)
    SAYS(text, "abc")
    CHECK(MultiByteToWideChar(1252, 0, "\x80", 1, wide, 4) == 1 && wide[0] == 0x20ac)
    CHECK(WideCharToMultiByte(1252, 0, L"\x2122", 1, text, 4, NULL, NULL) == 1 && text[0] == '\x99')
    FAILS(MultiByteToWideChar(CP_UTF8, 0x100, "a", 1, wide, 4), ERROR_INVALID_FLAGS)
    FAILS(MultiByteToWideChar(CP_UTF8, 0, "a", 1, NULL, 4), ERROR_INVALID_PARAMETER)
    return 0;
}
