/* The two C runtimes side by side: what they do differently, and what they do alike but seldom. Each function here tries
   some of it and answers 0, or the line of the first thing that is not as Microsoft's reference, or where that is silent
   Wine, has it. */
#include <stdarg.h>
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
#define SAYS(text, expected) CHECK(same(text, expected))

static BOOL same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}
static BOOL same_wide(const WCHAR *a, const WCHAR *b) { return lstrcmpW(a, b) == 0; }
static void *old(const char *name) { return GetProcAddress(LoadLibraryA("msvcrt.dll"), name); }
static void *new(const char *name) { return GetProcAddress(LoadLibraryA("ucrtbase.dll"), name); }
static int error_of(const char *library) { return *((int *(*)(void))GetProcAddress(GetModuleHandleA(library), "_errno"))(); }
/* Without a handler ucrtbase ends a program that passes what cannot be. */
static void quiet(void) {}
static void be_quiet(void) { ((void *(*)(void *))new ("_set_invalid_parameter_handler"))(quiet); }
static char text[400];
static WCHAR wide_text[100];

static const unsigned long long bits_of_nan = 0x7ff8000000000000, bits_of_no_number = 0xfff8000000000000, bits_of_infinity = 0x7ff0000000000000;
#define NONE (*(double *)&bits_of_nan)
#define NO_NUMBER (*(double *)&bits_of_no_number)
#define INFINITE (*(double *)&bits_of_infinity)

/* ucrtbase has no function with the arguments in line. */
static int written(unsigned long long options, const char *format, ...)
{
    int (*f)(unsigned long long, char *, SIZE_T, const char *, void *, va_list) = new ("__stdio_common_vsprintf");
    va_list list;
    va_start(list, format);
    return f(options | 2, text, sizeof text, format, NULL, list);
}
static int written_wide(unsigned long long options, const WCHAR *format, ...)
{
    int (*f)(unsigned long long, WCHAR *, SIZE_T, const WCHAR *, void *, va_list) = new ("__stdio_common_vswprintf");
    va_list list;
    va_start(list, format);
    return f(options | 2, wide_text, 100, format, NULL, list);
}
static int numbered(const char *format, ...)
{
    int (*f)(char *, SIZE_T, const char *, va_list) = old("_vsprintf_p");
    va_list list;
    va_start(list, format);
    return f(text, sizeof text, format, list);
}

EXPORT int formats_of_msvcrt(void)
{
    int (*f)(char *, const char *, ...) = old("sprintf"), (*w)(WCHAR *, const WCHAR *, ...) = old("_swprintf"), n = 0;
    unsigned (*set)(unsigned) = old("_set_output_format");
    CHECK(f(text, "%k%_1I64d%I%Iq|%3h") == 11) SAYS(text, "k_1I64dIIq|")
    CHECK(f(text, "%Fd %Nd %Ix %hhx", 1, 2, (SIZE_T)0x123456789, 0x123) == 17) SAYS(text, "1 2 123456789 123")
    CHECK(f(text, "%04s|%-04c|%#+ -03whlls", "foo", '1', L"wide") == 14) SAYS(text, "0foo|1   |wide")
    f(text, "%#020p|%#-20p|%*1d", (void *)57, (void *)57, 1, 3);
    SAYS(text, "  0X0000000000000039|0X0000000000000039  |          3")
    f(text, "%e %.0f %.0f %.2f", 1.5, 0.5, -1.5, 0.125);
    SAYS(text, "1.500000e+000 1 -2 0.13")
    f(text, "%f %.2f %e %g", INFINITE, INFINITE, NONE, NO_NUMBER);
    SAYS(text, "1.#INF00 1.#J 1.#QNAN0e+000 -1.#IND")
    CHECK(set(1) == 0 && f(text, "%e", 1.5) == 12 && set(1) == 1 && set(0) == 1) SAYS(text, "1.500000e+00")
    CHECK(w(wide_text, L"%s|%S|%hs|%5s", L"wide", "narrow", "narrow", L"\x263a") == 24 && same_wide(wide_text, L"wide|narrow|narrow|    \x263a"))
    return 0;
}
EXPORT int formats_of_ucrtbase(void)
{
    written(0, "%e %F %E %F %.0f", 1.5, 1.5, INFINITE, NO_NUMBER, 2.5);
    SAYS(text, "1.500000e+00 1.500000 INF -NAN(IND) 3")
    written(8 | 16, "%Fd %e %f", 7, 1.5, INFINITE); /* as msvcrt has it, with long exponents */
    SAYS(text, "7 1.500000e+000 1.#INF00")
    written(32, "%.0f %.0f %.1a", 0.5, 2.5, 1.03125); /* half to even */
    SAYS(text, "0 2 0x1.0p+0")
    written(0, "%a %.0a %024a %.20a", 1.5, 1.5, 0.1, -1.0);
    SAYS(text, "0x1.8000000000000p+0 0x2p+0 0x00001.999999999999ap-4 -0x1.00000000000000000000p+0")
    written(0, "%.30f %.21a", 1.0 / 3.0, NONE);
    SAYS(text, "0.333333333333333314829616256247 nan")
    written(0, "%0*2d|%*0d|%Ts", 1, 3, 1, 2, "text");
    SAYS(text, "03|2|text")
    CHECK(written_wide(0, L"%s|%S|%Ts", "narrow", L"wide", L"wide") == 16 && same_wide(wide_text, L"narrow|wide|wide"))
    CHECK(written_wide(4, L"%s|%S", L"wide", "narrow") == 11 && same_wide(wide_text, L"wide|narrow"))
    return 0;
}
EXPORT int formats_with_numbers(void)
{
    CHECK(numbered("%s %d", "test", 1234) == 9) SAYS(text, "test 1234")
    CHECK(numbered("%2$s %1$d", 1234, "test") == 9) SAYS(text, "test 1234")
    CHECK(numbered("%2$*3$s %2$.*1$s", 2, "test", 3) == 7) SAYS(text, "test te")
    return 0;
}

EXPORT int digits(void)
{
    char *(*ecvt)(double, int, int *, int *) = old("_ecvt"), *(*fcvt)(double, int, int *, int *) = old("_fcvt");
    int (*ecvt_s)(char *, SIZE_T, double, int, int *, int *) = old("_ecvt_s"), at, minus;
    SAYS(ecvt(-111.0001, 5, &at, &minus), "11100") CHECK(at == 3 && minus == 1)
    SAYS(ecvt(99.99, 1, &at, &minus), "1") CHECK(at == 3 && minus == 0)
    SAYS(ecvt(INFINITE, 2, &at, &minus), "1$") CHECK(at == 1)
    SAYS(fcvt(99.99, 1, &at, &minus), "1000") CHECK(at == 3)
    SAYS(fcvt(0.0001, 1, &at, &minus), "") CHECK(at == -3)
    SAYS(fcvt(-123.0001, -1, &at, &minus), "12") CHECK(at == 3 && minus == 1)
    SAYS(fcvt(0.6, 0, &at, &minus), "1") CHECK(at == 1)
    CHECK(ecvt_s(text, 10, 0.5, 3, &at, &minus) == 0 && at == 0) SAYS(text, "500")
    CHECK(ecvt_s(text, 10, 0.5, 3, NULL, &minus) == 22 && ecvt_s(NULL, 10, 0.5, 3, &at, &minus) == 22)
    return 0;
}

static int scanned(const char *from, const char *format, ...)
{
    int (*f)(unsigned long long, const char *, SIZE_T, const char *, void *, va_list) = new ("__stdio_common_vsscanf");
    va_list list;
    va_start(list, format);
    return f(0, from, -1, format, NULL, list);
}
EXPORT int scanning(void)
{
    int (*f)(const char *, const char *, ...) = old("sscanf"), (*s)(const char *, const char *, ...) = old("sscanf_s"), n = 0;
    void *p = NULL;
    double x = 0;
    CHECK(f("-46F174", "%p", &p) == 1 && p == (void *)-0x46f174 && f("0x46F173", "%p", &p) == 1 && !p)
    CHECK(f("\"%12@", "%\"%%%d%@", &n) == 1 && n == 12 && f("7", "%P", &p) == 1 && p == (void *)7)
    n = 0xdeadbeef;
    CHECK(f("12345678", "%h02d", &n) == 1 && n == 0xdead000c && f("12345678", "%2h0d", &n) == 1 && n == 0xdead614e)
    CHECK(f("12345678", "%hhd", &n) == 1 && n == 12345678)
    text[2] = 'x';
    CHECK(s("123", "%3c", text, 2) == 0 && !text[0] && text[1] == '2' && text[2] == 'x')
    n = 0xdeadbeef;
    CHECK(scanned("12345678", "%hhd", &n) == 1 && n == 0xdeadbe4e)
    CHECK(scanned("-INF|", "%lf", &x) == 1 && x == -INFINITE)
    CHECK(scanned("1e", "%lf", &x) == -1 && scanned("a0e", "%c%lf", text, &x) == 1 && scanned("infi", "%lf", &x) == -1)
    return 0;
}
EXPORT int long_numbers(void)
{
    int (*f)(void *, char **, const char *, int) = old("__STRINGTOLD"), (*d)(double *, const char *) = old("_atodbl");
    int (*atoi)(const char *) = old("atoi");
    long (*wcstol)(const WCHAR *, WCHAR **, int) = old("wcstol");
    unsigned long (*strtoul)(const char *, char **, int) = old("strtoul");
    char *end;
    double x;
    struct {
        unsigned long long mantissa;
        unsigned short head;
    } ten;
    CHECK(f(&ten, &end, "1e0", 0) == 0 && !*end && ten.mantissa == 1ull << 63 && ten.head == 0x3fff)
    CHECK(f(&ten, &end, "-0.0", 0) == 0 && ten.mantissa == 0 && ten.head == 0x8000)
    CHECK(f(&ten, &end, "1.18e+4932", 0) == 0 && ten.mantissa == 0xfde7f18a68067525 && ten.head == 0x7ffe)
    CHECK(f(&ten, &end, "3.65e-4951", 0) == 0 && ten.mantissa == 1 && ten.head == 0)
    CHECK(f(&ten, &end, "1.19e+4932", 0) == 2 && f(&ten, &end, "1e-99999", 0) == 1 && f(&ten, &end, "nan", 0) == 4)
    CHECK(d(&x, "123") == 0 && x == 123 && d(&x, "1e309") == 3 && d(&x, "1e-309") == 4)
    CHECK(atoi("4294967297") == 1 && strtoul("-4294967296", NULL, 0) == 1 && error_of("msvcrt.dll") == 34)
    CHECK(wcstol(L"\x3000-\x0664\xff10", NULL, 10) == -40 && wcstol(L"\x0966x1f", NULL, 0) == 31)
    return 0;
}

EXPORT int code_pages(void)
{
    int (*set)(int) = old("_setmbcp"), (*get)(void) = old("_getmbcp"), (*lead)(unsigned) = old("_ismbblead"), (*type)(unsigned char, int) = old("_mbbtype");
    int (*compare)(const char *, const char *) = old("_mbsicmp"), (*append)(char *, SIZE_T, const char *) = old("_mbscat_s");
    SIZE_T (*length)(const char *) = old("_mbslen"), (*span)(const char *, const char *) = old("_mbsspn");
    unsigned (*hiragana)(unsigned) = old("_mbctohira"), (*from_jis)(unsigned) = old("_mbcjistojms"), (*to_jis)(unsigned) = old("_mbcjmstojis");
    unsigned (*wide)(unsigned) = old("_mbbtombc"), (*narrow)(unsigned) = old("_mbctombb");
    char *(*chr)(const char *, unsigned) = old("_mbschr"), *(*dec)(const char *, const char *) = old("_mbsdec"), *(*ncpy)(char *, const char *, SIZE_T) = old("_mbsncpy");
    unsigned char *bits = old("_mbctype");
    int before = get(), i;
    static const char string[] = "a\x94\x4e" "b\x83\x5c" "c"; /* the second bytes are those of N and of a backslash */
    CHECK(set(932) == 0 && get() == 932 && set(4711) == -1 && get() == 932)
    CHECK(bits[0x81 + 1] == 0xc && bits[0x41 + 1] == 0x18 && bits[0xb1 + 1] == 9 && bits[0xa1 + 1] == 0xa && !bits[0x30 + 1])
    CHECK(lead(0x94) && !lead(0x20) && type(0x94, 0) == 1 && type(0x4e, 1) == 2 && type(0x20, 1) == -1 && type('a', 0) == 0)
    CHECK(length(string) == 5 && span(string, "\x94\x4e" "a") == 3 && chr(string, '\\') == NULL && chr(string, 0x835c) == string + 4)
    CHECK(dec(string, string + 6) == string + 4 && dec(string, string) == NULL)
    CHECK(compare("A\x82\x60", "a\x82\x81") == 0 && compare("a", "b") == -1)
    CHECK(ncpy(text, string, 2) == text && text[0] == 'a' && text[2] == 0x4e)
    text[0] = 'a', text[1] = (char)0x81, text[2] = 0;
    CHECK(append(text, 10, "R") == 42) SAYS(text, "aR") /* half a character is left out */
    CHECK(hiragana(0x8380) == 0x82de && hiragana(0x837f) == 0x837f && from_jis(0x2560) == 0x8380 && to_jis(0x8380) == 0x2560 && from_jis(0x2020) == 0)
    CHECK(wide('A') == 0x8260 && wide(0xb0) == 0x815b && narrow(0x8260) == 'A' && narrow(0x837e) == 0xd0)
    for (i = 0xa7; i <= 0xdd; i++)
        CHECK(narrow(wide(i)) == i)
    CHECK(set(936) == 0 && lead(0x81) && lead(0xfe) && !lead(0xff) && from_jis(0x2560) == 0x2560)
    CHECK(set(before) == 0)
    return 0;
}
EXPORT int texts(void)
{
    int (*copy)(char *, SIZE_T, const char *, SIZE_T) = old("strncpy_s"), (*append)(char *, SIZE_T, const char *) = old("strcat_s");
    int (*set)(char *, SIZE_T, int, SIZE_T) = old("_strnset_s"), (*compare)(const void *, const void *, SIZE_T) = new ("_memicmp");
    int (*counted)(const char *, const char *, SIZE_T) = old("strncmp"), (*blank)(unsigned short) = new ("iswblank"), (*printable)(unsigned short) = new ("iswprint");
    char *(*move)(char *, const char *) = old("strcpy"), *(*lower)(char *) = old("_strlwr");
    be_quiet();
    text[0] = '1', text[1] = 0;
    CHECK(copy(text + 1, 4, text, -1) == 80 && text[1] == '1' && text[3] == '1' && !text[4]) /* over its own end */
    move(text, "abcdef");
    CHECK(move(text, text + 1) == text) SAYS(text, "bcdef")
    CHECK(append(text, 7, "gh") == 34 && !text[0] && copy(text, 3, "long", 4) == 34 && !text[0] && text[1] == 'o')
    move(text, "bbb");
    CHECK(set(text, 5, 'a', 2) == 0 && set(NULL, 0, 'a', 0) == 0 && set(text, 0, 'a', 0) == 22) SAYS(text, "aab")
    CHECK(counted("", "abc", 3) == -1 && counted("ab\xb0", "ab\xa0", 3) == 1)
    CHECK(compare(NULL, "a", 1) == MAXINT && error_of("ucrtbase.dll") == 22 && compare("aB", "Ab", 2) == 0)
    CHECK(blank(9) && blank(0x3000) && !blank(0xa0) && !printable(9))
    SAYS(lower((char *)"constant"), "constant") /* what stays the same is not written */
    return 0;
}

EXPORT int dates(void)
{
    SIZE_T (*f)(char *, SIZE_T, const char *, const int *) = old("strftime"), (*g)(char *, SIZE_T, const char *, const int *) = new ("strftime");
    char *(*in_letters)(const int *) = old("asctime"), *(*in_new_letters)(const int *) = new ("asctime");
    WCHAR *(*today)(WCHAR *) = old("_wstrdate");
    void *(*date_of)(const long long *) = old("_gmtime64");
    const long long too_early = -1;
    int tm[9] = {0, 0, 0, 1, 0, 70, 4, 0, 0};
    be_quiet();
    CHECK(f(text, 99, "%c|%#c|%#%e", tm) == 56) SAYS(text, "01/01/70 00:00:00|Thursday, January 01, 1970 00:00:00|%e")
    CHECK(f(text, 99, "%D", tm) == 0 && error_of("msvcrt.dll") == 22 && f(text, 99, "copy", NULL) == 4)
    CHECK(g(text, 99, "%c|%r|%#D|%e|%h|%g-%V", tm) == 56) SAYS(text, "Thu Jan  1 00:00:00 1970|12:00:00 AM|1/1/70| 1|Jan|70-01")
    SAYS(in_letters(tm), "Thu Jan 01 00:00:00 1970\n") SAYS(in_new_letters(tm), "Thu Jan  1 00:00:00 1970\n")
    tm[3] = 32;
    CHECK(!g(text, 99, "%d", tm) && error_of("ucrtbase.dll") == 22 && !in_letters(tm))
    CHECK(today(wide_text) == wide_text && lstrlenW(wide_text) == 8 && wide_text[2] == '/' && !date_of(&too_early))
    return 0;
}

static struct failure {
    int type;
    char *name;
    double first, second, result;
} seen;
static int handler(struct failure *failure)
{
    seen = *failure;
    failure->result = 42;
    return failure->first == 4;
}
EXPORT int mathematics(void)
{
    void (*set)(void *) = new ("__setusermatherr"), (*set_error)(int) = new ("_set_errno");
    double (*acos)(double) = new ("acos"), (*log)(double) = new ("log"), (*pow)(double, double) = new ("pow"), (*exp2)(double) = new ("exp2"), (*acosh)(double) = new ("acosh");
    be_quiet();
    set_error(0);
    CHECK(acos(2) != acos(2) && error_of("ucrtbase.dll") == 33 && log(0) == -INFINITE && error_of("ucrtbase.dll") == 34)
    set_error(0);
    CHECK(acos(NONE) != 0 && pow(2, -1e9) == 0 && error_of("ucrtbase.dll") == 0)
    CHECK(exp2(1e100) == INFINITE && error_of("ucrtbase.dll") == 34 && acosh(0) != 0 && error_of("ucrtbase.dll") == 33)
    set(handler);
    set_error(0);
    CHECK(acos(2) == 42 && error_of("ucrtbase.dll") == 33 && seen.type == 1 && seen.first == 2)
    SAYS(seen.name, "acos")
    set_error(0);
    CHECK(acos(4) == 42 && error_of("ucrtbase.dll") == 0)
    CHECK(pow(2, -1e9) == 42 && seen.type == 4 && seen.second == -1e9 && log(0) == 42 && seen.type == 2)
    seen.type = 0;
    CHECK(acosh(0) != 42 && seen.type == 0)
    set(NULL);
    return 0;
}
EXPORT int environment_of_numbers(void)
{
    int (*get)(unsigned *) = new ("fegetenv"), (*put)(const unsigned *) = new ("fesetenv"), (*round)(int) = new ("fesetround"), (*rounding)(void) = new ("fegetround");
    int (*raise)(int) = new ("feraiseexcept"), (*test)(int) = new ("fetestexcept"), (*clear)(int) = new ("feclearexcept"), (*flags)(unsigned *, int) = new ("fegetexceptflag"), (*set_flags)(const unsigned *, int) = new ("fesetexceptflag");
    int (*direction)(void) = new ("__fpe_flt_rounds"), (*forget)(void) = new ("_clearfp");
    unsigned before[2], after[2], some;
    forget();
    CHECK(get(before) == 0 && before[0] >> 24 == (before[0] & 0xff) && !before[1])
    CHECK(round(0x200) == 0 && rounding() == 0x200 && direction() == 2 && get(after) == 0 && after[0] != before[0])
    CHECK(put(before) == 0 && rounding() == 0 && direction() == 1)
    some = 0x1f00001f;
    CHECK(set_flags(&some, 3) == 0 && test(0x1f) == 3 && flags(&some, 1) == 0 && some == 0x01000001)
    some = 0;
    CHECK(set_flags(&some, 0x1f) == 0 && test(0x1f) == 0 && set_flags(NULL, 0) == 0)
    return 0;
}

EXPORT int streams(void)
{
    void *(*open)(const char *, const char *) = old("fopen");
    int (*close)(void *) = old("fclose"), (*close_all)(void) = old("_fcloseall"), (*most)(int) = old("_setmaxstdio"), (*print)(void *, const char *, ...) = old("fprintf");
    int (*remove)(const char *) = old("remove"), (*flush)(void *) = old("fflush"), (*get)(void *) = old("fgetc");
    void *file, *other;
    char folder[200];
    CHECK(GetTempPathA(200, folder) && GetTempFileNameA(folder, "fmt", 0, text) && (file = open(text, "w")) && (other = open(text, "r")))
    CHECK(print(file, "%d", 1234) == 4 && flush(file) == 0)
    CHECK(get(other) == '1' && flush(other) == 0 && get(other) == -1) /* what was read ahead is forgotten */
    CHECK(close(file) == 0)
    CHECK(close_all() == 1 && close_all() == 0 && remove(text) == 0)
    CHECK(most(2048) == 2048 && most(2049) == -1 && most(19) == -1 && most(512) == 512)
    return 0;
}
EXPORT int texts_with_marks(void)
{
    void *(*open)(const char *, const char *) = old("fopen");
    int (*close)(void *) = old("fclose"), (*put)(const WCHAR *, void *) = old("fputws");
    unsigned short (*get)(void *) = old("fgetwc");
    SIZE_T (*read)(void *, SIZE_T, SIZE_T, void *) = old("fread");
    void *file;
    char folder[200], name[300];
    unsigned char bytes[16];
    CHECK(GetTempPathA(200, folder) && GetTempFileNameA(folder, "fmt", 0, name))
    CHECK((file = open(name, "w,ccs=UNICODE")) && put(L"\x263a\n", file) == 0 && close(file) == 0)
    CHECK((file = open(name, "rb")) && read(bytes, 1, 16, file) == 8 && close(file) == 0)
    CHECK(bytes[0] == 0xff && bytes[1] == 0xfe && bytes[2] == 0x3a && bytes[3] == 0x26 && bytes[4] == '\r' && bytes[6] == '\n')
    CHECK((file = open(name, "rt, ccs=UTF-8")) && get(file) == 0x263a && get(file) == '\n' && get(file) == 0xffff && close(file) == 0)
    CHECK((file = open(name, "w,ccs=UTF-8")) && put(L"\x263a", file) == 0 && close(file) == 0)
    CHECK((file = open(name, "rb")) && read(bytes, 1, 16, file) == 6 && bytes[0] == 0xef && bytes[3] == 0xe2 && close(file) == 0)
    CHECK((file = open(name, "a+,ccs=UTF-16LE")) && get(file) == 0x263a && get(file) == 0xffff && close(file) == 0)
    CHECK(DeleteFileA(name))
    return 0;
}
EXPORT int files_and_programs(void)
{
    int (*stat)(const char *, unsigned char *) = new ("_stat32"), (*search)(const char *, const char *, char *, SIZE_T) = old("_searchenv_s"), (*put)(const char *) = old("_putenv");
    SSIZE_T (*spawn)(int, const char *, const char *const *) = old("_spawnv");
    int (*open)(int *, const char *, int, int, int) = new ("_sopen_s"), (*close)(int) = new ("_close"), file;
    const char *const none[] = {"none", NULL};
    unsigned char known[36];
    char name[300], line[350], *base;
    be_quiet();
    CHECK(GetTempPathA(200, line + 13) && GetTempFileNameA(line + 13, "fmt", 0, name))
    for (base = name + lstrlenA(name); base[-1] != '\\'; base--)
        ;
    CHECK(open(&file, name, 0x102, 0x10, 0x180) == 0 && close(file) == 0)
    CHECK(open(&file, name, 0x102, 0x10, 0xff) == 22)
    CHECK(file == -1)
    CHECK(stat(name, known) == 0 && *(unsigned short *)(known + 6) & 0x8000 && *(int *)(known + 20) == 0)
    for (file = 0; file < 13; file++)
        line[file] = "FORMATS_TEST="[file];
    CHECK(put(line) == 0 && search(base, "FORMATS_TEST", text, 300) == 0 && same(text, name))
    CHECK(search("is-not-there.tst", "FORMATS_TEST", text, 300) == 2 && !text[0])
    lstrcatA(name, "\\");
    CHECK(stat(name, known) == -1)
    name[lstrlenA(name) - 1] = 0;
    CHECK(DeleteFileA(name) && stat(name, known) == -1)
    CHECK(spawn(0, name, none) == -1 && error_of("msvcrt.dll") == 2)
    return 0;
}
