/* Locales, dates and times as texts, processors. Each function here answers 0, or the line of the first thing that is not as
   Microsoft's reference, or where that is silent Wine, has it. Of locales there may be more than are asked for here. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

static BOOL same(const WCHAR *a, const WCHAR *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}
static WCHAR text[200];
static BOOL says(const WCHAR *locale, LCTYPE kind, const WCHAR *expected)
{
    return GetLocaleInfoEx(locale, kind, text, 200) > 0 && same(text, expected);
}
static DWORD number(const WCHAR *locale, LCTYPE kind)
{
    DWORD n = ~0u;
    return GetLocaleInfoEx(locale, kind | LOCALE_RETURN_NUMBER, (WCHAR *)&n, 2) == 2 ? n : ~0u;
}

EXPORT int information(void)
{
    char ansi[40];
    CHECK(says(L"en-US", LOCALE_SENGLANGUAGE, L"English") && says(L"EN-us", LOCALE_SNAME, L"en-US"))
    CHECK(says(L"en-US", LOCALE_SISO639LANGNAME, L"en") && says(L"en-US", LOCALE_SISO3166CTRYNAME, L"US"))
    CHECK(says(L"en-US", LOCALE_SDECIMAL, L".") && says(L"en-US", LOCALE_STHOUSAND, L",") && says(L"en-US", LOCALE_SGROUPING, L"3;0"))
    CHECK(says(L"en-US", LOCALE_SCURRENCY, L"$") && says(L"en-US", LOCALE_SINTLSYMBOL, L"USD"))
    CHECK(says(L"en-US", LOCALE_SSHORTDATE, L"M/d/yyyy") && says(L"en-US", LOCALE_SLONGDATE, L"dddd, MMMM d, yyyy"))
    CHECK(says(L"en-US", LOCALE_STIMEFORMAT, L"h:mm:ss tt") && says(L"en-US", LOCALE_S1159, L"AM") && says(L"en-US", LOCALE_S2359, L"PM"))
    CHECK(says(L"en-US", LOCALE_SDAYNAME1, L"Monday") && says(L"en-US", LOCALE_SDAYNAME7, L"Sunday"))
    CHECK(says(L"en-US", LOCALE_SABBREVDAYNAME3, L"Wed") && says(L"en-US", LOCALE_SMONTHNAME12, L"December"))
    CHECK(says(L"en-US", LOCALE_SABBREVMONTHNAME9, L"Sep") && says(L"en-US", LOCALE_SNATIVEDIGITS, L"0123456789"))
    CHECK(says(L"en-US", LOCALE_ILANGUAGE, L"0409") && says(L"en-US", LOCALE_IDEFAULTANSICODEPAGE, L"1252"))
    CHECK(number(L"en-US", LOCALE_ILANGUAGE) == 0x409 && number(L"en-US", LOCALE_IDEFAULTANSICODEPAGE) == 1252)
    CHECK(number(L"en-US", LOCALE_IDIGITS) == 2 && number(L"en-US", LOCALE_IMEASURE) == 1 && number(L"en-US", LOCALE_ICOUNTRY) == 1)
    CHECK(GetLocaleInfoW(0x409, LOCALE_SENGCOUNTRY | LOCALE_NOUSEROVERRIDE, text, 200) == 14 && same(text, L"United States"))
    CHECK(GetLocaleInfoW(0x409, LOCALE_FONTSIGNATURE, text, 200) == 16)
    CHECK(GetLocaleInfoA(0x409, LOCALE_SENGLANGUAGE, ansi, 40) == 8 && ansi[0] == 'E' && ansi[6] == 'h' && !ansi[7])
    CHECK(GetLocaleInfoA(0x409, LOCALE_IDIGITS | LOCALE_RETURN_NUMBER, ansi, 4) == 4 && *(DWORD *)ansi == 2)
    CHECK(GetLocaleInfoA(0x409, LOCALE_FONTSIGNATURE, 0, 0) == 32)
    CHECK(GetLocaleInfoW(0x409, LOCALE_SDECIMAL, 0, 0) == 2 && GetLocaleInfoW(0x409, LOCALE_IDIGITS | LOCALE_RETURN_NUMBER, 0, 0) == 2)
    return 0;
}

EXPORT int invariant(void)
{
    CHECK(says(L"", LOCALE_SNAME, L"") && says(L"", LOCALE_SENGLANGUAGE, L"Invariant Language") && says(L"", LOCALE_ILANGUAGE, L"007f"))
    CHECK(says(L"", LOCALE_SSHORTDATE, L"MM/dd/yyyy") && says(L"", LOCALE_SLONGDATE, L"dddd, dd MMMM yyyy"))
    CHECK(says(L"", LOCALE_STIMEFORMAT, L"HH:mm:ss") && says(L"", LOCALE_SCURRENCY, L"\xa4") && says(L"", LOCALE_SMONTHNAME1, L"January"))
    CHECK(number(L"", LOCALE_ILANGUAGE) == 0x7f && number(L"", LOCALE_IMEASURE) == 0)
    CHECK(GetLocaleInfoW(LOCALE_INVARIANT, LOCALE_SISO639LANGNAME, text, 200) == 3 && same(text, L"iv"))
    return 0;
}

EXPORT int information_refused(void)
{
    char ansi[4];
    FAILS(GetLocaleInfoW(0x409, LOCALE_SDECIMAL, text, 1), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetLocaleInfoW(0x409, LOCALE_SDECIMAL, text, -1), ERROR_INVALID_PARAMETER)
    FAILS(GetLocaleInfoW(0x409, LOCALE_SDECIMAL, 0, 5), ERROR_INVALID_PARAMETER)
    FAILS(GetLocaleInfoW(0x409, 0x9999, text, 5), ERROR_INVALID_FLAGS)
    FAILS(GetLocaleInfoW(0x12345, LOCALE_SDECIMAL, text, 5), ERROR_INVALID_PARAMETER)
    FAILS(GetLocaleInfoW(0x409, LOCALE_SDECIMAL | LOCALE_RETURN_NUMBER, text, 5), ERROR_INVALID_FLAGS)
    FAILS(GetLocaleInfoW(0x409, LOCALE_IDIGITS | LOCALE_RETURN_NUMBER, text, 1), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetLocaleInfoA(0x409, LOCALE_IDIGITS | LOCALE_RETURN_NUMBER, ansi, 2), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetLocaleInfoA(0x409, LOCALE_SDECIMAL, ansi, 1), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetLocaleInfoEx(L"xx-YY", LOCALE_SDECIMAL, text, 5), ERROR_INVALID_PARAMETER)
    return 0;
}

EXPORT int names(void)
{
    CHECK(LocaleNameToLCID(L"en-US", 0) == 0x409 && LocaleNameToLCID(L"", 0) == 0x7f)
    CHECK(LocaleNameToLCID(0, 0) == GetUserDefaultLCID())
    CHECK(LCIDToLocaleName(0x409, text, 200, 0) == 6 && same(text, L"en-US") && LCIDToLocaleName(0x409, 0, 0, 0) == 6)
    FAILS(LocaleNameToLCID(L"xx", 0), ERROR_INVALID_PARAMETER)
    FAILS(LCIDToLocaleName(0x12345, text, 200, 0), ERROR_INVALID_PARAMETER)
    FAILS(LCIDToLocaleName(0x409, text, 5, 0), ERROR_INSUFFICIENT_BUFFER)
    CHECK(IsValidLocaleName(L"en-US") && !IsValidLocaleName(L"xx") && IsValidLocale(0x409, LCID_INSTALLED))
    return 0;
}

static int found, calls;
static BOOL CALLBACK by_id(WCHAR *id)
{
    calls++;
    found += same(id, L"00000409");
    return TRUE;
}
static BOOL CALLBACK by_name(WCHAR *name, DWORD flags, LPARAM own)
{
    calls++;
    found += own == 7 && same(name, L"en-US");
    return TRUE;
}
static BOOL CALLBACK only_one(WCHAR *name, DWORD flags, LPARAM own)
{
    calls++;
    return FALSE;
}
EXPORT int every_locale(void)
{
    ULONG count = 0, len = 200, none = 0;
    found = 0;
    CHECK(EnumSystemLocalesW(by_id, LCID_INSTALLED) && found == 1)
    found = 0;
    CHECK(EnumSystemLocalesEx(by_name, LOCALE_ALL, 7, 0) && found == 1)
    calls = 0;
    CHECK(EnumSystemLocalesEx(only_one, LOCALE_ALL, 0, 0) && calls == 1)
    CHECK(GetUserPreferredUILanguages(MUI_LANGUAGE_NAME, &count, text, &len) && count >= 1 && text[len - 1] == 0 && text[len - 2] == 0)
    CHECK(GetUserPreferredUILanguages(MUI_LANGUAGE_NAME, &count, 0, &none) && none == len)
    len = 1;
    FAILS(GetUserPreferredUILanguages(MUI_LANGUAGE_NAME, &count, text, &len), ERROR_INSUFFICIENT_BUFFER)
    return 0;
}

/* A Thursday, whatever is said here; seven in the morning. */
static SYSTEMTIME morning = {2026, 3, 9, 5, 7, 4, 9, 123};
static SYSTEMTIME afternoon = {2026, 11, 0, 22, 13, 45, 6, 0};
static SYSTEMTIME no_month = {2026, 13, 0, 1, 0, 0, 0, 0};
static SYSTEMTIME no_hour = {2026, 1, 0, 1, 25, 0, 0, 0};

static BOOL date(const WCHAR *locale, DWORD flags, const WCHAR *picture, const WCHAR *expected)
{
    return GetDateFormatEx(locale, flags, &morning, picture, text, 200, 0) > 0 && same(text, expected);
}
EXPORT int dates(void)
{
    char ansi[8];
    CHECK(date(L"en-US", 0, 0, L"3/5/2026") && date(L"en-US", DATE_SHORTDATE, 0, L"3/5/2026") && date(L"", 0, 0, L"03/05/2026"))
    CHECK(date(L"en-US", DATE_LONGDATE, 0, L"Thursday, March 5, 2026") && date(L"", DATE_LONGDATE, 0, L"Thursday, 05 March 2026"))
    CHECK(date(L"en-US", DATE_YEARMONTH, 0, L"March 2026") && date(L"en-US", 0x80 /* DATE_MONTHDAY */, 0, L"March 5"))
    CHECK(date(L"en-US", 0, L"yyyy-MM-dd", L"2026-03-05") && date(L"en-US", 0, L"y yy yyy yyyyy", L"26 26 2026 2026"))
    CHECK(date(L"en-US", 0, L"M MM MMM MMMM MMMMM", L"3 03 Mar March March") && date(L"en-US", 0, L"d dd ddd dddd ddddd", L"5 05 Thu Thursday Thursday"))
    CHECK(date(L"en-US", 0, L"'it''s' d 'quoted", L"it's 5 quoted") && date(L"en-US", 0, L"d' of 'MMMM", L"5 of March"))
    CHECK(date(L"en-US", 0, L"hh:mm d\\", L"hh:mm 5\\") && date(L"en-US", 0, L"", L""))
    CHECK(GetDateFormatW(0x409, 0, &no_hour, 0, text, 200) == 9 && same(text, L"1/1/2026"))
    CHECK(GetDateFormatW(0x409, 0, &morning, L"yyyy", 0, 0) == 5 && GetDateFormatW(0x409, 0, 0, L"yyyy", 0, 0) == 5)
    CHECK(GetDateFormatA(0x409, 0, &morning, "yyyy", ansi, 8) == 5 && ansi[0] == '2' && ansi[3] == '6' && !ansi[4])
    return 0;
}

static BOOL time(const SYSTEMTIME *at, DWORD flags, const WCHAR *picture, const WCHAR *expected)
{
    return GetTimeFormatEx(L"en-US", flags, at, picture, text, 200) > 0 && same(text, expected);
}
EXPORT int times(void)
{
    char ansi[8];
    const WCHAR *usual = L"h:mm:ss tt", *all = L"h hh H HH m mm s ss t tt";
    CHECK(time(&morning, 0, 0, L"7:04:09 AM") && time(&afternoon, 0, 0, L"1:45:06 PM"))
    CHECK(time(&morning, 0, all, L"7 07 7 07 4 04 9 09 A AM") && time(&afternoon, 0, all, L"1 01 13 13 45 45 6 06 P PM"))
    CHECK(time(&afternoon, 0, L"hhh HHH mmm sss ttt", L"01 13 45 06 PM") && time(&afternoon, 0, L"HH'h'mm", L"13h45"))
    CHECK(time(&afternoon, 0, L"dd 'a''b' h", L"dd a'b 1") && time(&afternoon, 0, L"", L""))
    CHECK(time(&afternoon, TIME_NOSECONDS, usual, L"1:45 PM") && time(&afternoon, TIME_NOMINUTESORSECONDS, 0, L"1 PM"))
    CHECK(time(&afternoon, TIME_NOTIMEMARKER, usual, L"1:45:06") && time(&afternoon, TIME_FORCE24HOURFORMAT, usual, L"13:45:06 PM"))
    CHECK(time(&afternoon, TIME_NOTIMEMARKER | TIME_NOSECONDS | TIME_FORCE24HOURFORMAT, 0, L"13:45"))
    CHECK(time(&no_month, 0, 0, L"12:00:00 AM"))
    CHECK(GetTimeFormatEx(L"", 0, &afternoon, 0, text, 200) == 9 && same(text, L"13:45:06"))
    CHECK(GetTimeFormatW(0x409, 0, &morning, L"H", 0, 0) == 2 && GetTimeFormatW(0x409, 0, 0, L"HH", 0, 0) == 3)
    CHECK(GetTimeFormatA(0x409, 0, &morning, "HH", ansi, 8) == 3 && ansi[0] == '0' && ansi[1] == '7' && !ansi[2])
    return 0;
}

EXPORT int pictures_refused(void)
{
    FAILS(GetDateFormatW(0x409, 0, &no_month, 0, text, 200), ERROR_INVALID_PARAMETER)
    FAILS(GetDateFormatW(0x12345, 0, &morning, 0, text, 200), ERROR_INVALID_PARAMETER)
    FAILS(GetDateFormatW(0x409, DATE_SHORTDATE | DATE_LONGDATE, &morning, 0, text, 200), ERROR_INVALID_FLAGS)
    FAILS(GetDateFormatW(0x409, DATE_LONGDATE, &morning, L"yyyy", text, 200), ERROR_INVALID_FLAGS)
    FAILS(GetDateFormatW(0x409, 0, &morning, L"yyyy", text, 4), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetDateFormatW(0x409, 0, &morning, L"yyyy", text, -1), ERROR_INVALID_PARAMETER)
    FAILS(GetDateFormatW(0x409, 0, &morning, L"yyyy", 0, 5), ERROR_INVALID_PARAMETER)
    FAILS(GetTimeFormatW(0x409, 0, &no_hour, 0, text, 200), ERROR_INVALID_PARAMETER)
    FAILS(GetTimeFormatW(0x409, 0, &morning, L"H", text, 1), ERROR_INSUFFICIENT_BUFFER)
    FAILS(GetTimeFormatEx(L"xx", 0, &morning, 0, text, 200), ERROR_INVALID_PARAMETER)
    return 0;
}

/* Every processor is in one core and one package; the one group has all. */
EXPORT int processors(void)
{
    static char room[1 << 16];
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *info;
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION *one = (void *)room;
    KAFFINITY cores = 0, packages = 0, group = 0, caches = 0;
    DWORD len = 0, at, n;
    FAILS(GetLogicalProcessorInformationEx(RelationAll, 0, &len), ERROR_INSUFFICIENT_BUFFER)
    CHECK(len > 0 && len <= sizeof room)
    n = len - 1;
    FAILS(GetLogicalProcessorInformationEx(RelationAll, (void *)room, &n), ERROR_INSUFFICIENT_BUFFER)
    CHECK(n == len && GetLogicalProcessorInformationEx(RelationAll, (void *)room, &len) && n == len)
    for (at = 0; at < len; at += info->Size) {
        info = (void *)(room + at);
        CHECK(info->Size >= 48 && info->Size <= len - at)
        switch (info->Relationship) {
        case RelationProcessorCore:
            CHECK(info->Processor.GroupCount == 1 && info->Processor.GroupMask[0].Mask && !(cores & info->Processor.GroupMask[0].Mask))
            cores |= info->Processor.GroupMask[0].Mask;
            break;
        case RelationProcessorPackage:
            CHECK(info->Processor.GroupCount == 1 && !(packages & info->Processor.GroupMask[0].Mask))
            packages |= info->Processor.GroupMask[0].Mask;
            break;
        case RelationGroup:
            CHECK(info->Group.ActiveGroupCount == 1 && info->Group.MaximumGroupCount == 1)
            group |= info->Group.GroupInfo[0].ActiveProcessorMask;
            CHECK(info->Group.GroupInfo[0].ActiveProcessorCount == GetActiveProcessorCount(0))
            break;
        case RelationCache:
            CHECK(info->Cache.Level >= 1 && info->Cache.Level <= 4 && info->Cache.CacheSize)
            break;
        }
    }
    CHECK(cores == group && packages == group && group)
    len = sizeof room;
    CHECK(GetLogicalProcessorInformationEx(RelationNumaNode, (void *)room, &len) && len % 48 == 0 && len)
    len = 0;
    FAILS(GetLogicalProcessorInformation(0, &len), ERROR_INSUFFICIENT_BUFFER)
    CHECK(len % sizeof *one == 0 && GetLogicalProcessorInformation(one, &len))
    for (cores = 0; len; len -= sizeof *one, one++)
        if (one->Relationship == RelationProcessorCore)
            cores |= one->ProcessorMask;
    CHECK(cores == group)
    return 0;
}
