/* Resources of a DLL, as its own code finds them; the same in the DLL's file, loaded as data. Each function answers 0, or the
   line of the first thing that is not as Microsoft's reference says. */
#include <windows.h>
#include "../common.h"

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

#define NUMBER(n) MAKEINTRESOURCEA(n)
#define DATA NUMBER(10)
#define GERMAN 0x407
#define ENGLISH 0x409
#define FRENCH_BELGIUM 0x80c
#define SPANISH 0x40a

static HMODULE self;
int DllMain(void *image, unsigned reason, void *reserved)
{
    (void)reason, (void)reserved;
    self = image;
    return TRUE;
}

static BOOL same(const void *a, const char *b, unsigned length)
{
    const char *at = a;
    for (unsigned i = 0; i < length; i++)
        if (at[i] != b[i])
            return FALSE;
    return TRUE;
}

static BOOL holds(HMODULE module, HRSRC found, const char *text, unsigned length)
{
    if (!found || SizeofResource(module, found) != length)
        return FALSE;
    HGLOBAL loaded = LoadResource(module, found);
    return loaded && same(LockResource(loaded), text, length) && FreeResource(loaded) == 0;
}

static int names_and_numbers_of(HMODULE module)
{
    CHECK(holds(module, FindResourceA(module, "LOGO", DATA), "BADC", 4))
    CHECK(holds(module, FindResourceA(module, "logo", "PICTURE"), "named", 5)) /* letter case means nothing */
    CHECK(holds(module, FindResourceW(module, L"Logo", L"picture"), "named", 5))
    CHECK(holds(module, FindResourceA(module, "#7", "Picture"), "numbered", 8)) /* a number as text */
    CHECK(holds(module, FindResourceW(module, L"LOGO", L"#10"), "BADC", 4))
    FAILS(FindResourceA(module, NUMBER(1), NUMBER(99)), ERROR_RESOURCE_TYPE_NOT_FOUND)
    FAILS(FindResourceA(module, NUMBER(99), DATA), ERROR_RESOURCE_NAME_NOT_FOUND)
    FAILS(FindResourceW(module, L"LOG", L"PICTURE"), ERROR_RESOURCE_NAME_NOT_FOUND)
    return 0;
}

static int languages_of(HMODULE module)
{
    CHECK(holds(module, FindResourceExA(module, DATA, NUMBER(1), GERMAN), "Hallo", 5))
    CHECK(holds(module, FindResourceExW(module, (void *)DATA, (void *)NUMBER(1), ENGLISH), "Hello", 5))
    CHECK(holds(module, FindResourceA(module, NUMBER(1), DATA), "Hello", 5)) /* none is asked for: English */
    CHECK(holds(module, FindResourceExA(module, DATA, NUMBER(1), FRENCH_BELGIUM), "Salut", 5)) /* of any country */
    FAILS(FindResourceExA(module, DATA, NUMBER(1), SPANISH), ERROR_RESOURCE_LANG_NOT_FOUND)
    CHECK(holds(module, FindResourceA(module, NUMBER(2), DATA), "Hola!!", 6)) /* there is no other */
    CHECK(holds(module, FindResourceExA(module, DATA, "LOGO", SPANISH), "BADC", 4)) /* neutral serves all */
    return 0;
}

EXPORT int names_and_numbers(void) { return names_and_numbers_of(self); }
EXPORT int languages(void) { return languages_of(self); }

EXPORT int without_resources(void)
{
    HMODULE kernel = GetModuleHandleA("kernel32.dll");
    FAILS(FindResourceA(kernel, NUMBER(1), DATA), ERROR_RESOURCE_DATA_NOT_FOUND)
    FAILS(FindResourceA(NULL, NUMBER(1), DATA), ERROR_RESOURCE_DATA_NOT_FOUND)
    FAILS(EnumResourceTypesA(kernel, NULL, 0), ERROR_RESOURCE_DATA_NOT_FOUND)
    FAILS(LoadResource(self, NULL), ERROR_INVALID_PARAMETER)
    FAILS(SizeofResource(self, NULL), ERROR_INVALID_PARAMETER)
    return 0;
}

/* What enumerations say, one letter a call: a number as it is, a name by its first letter. */
static char said[64];
static unsigned count;
static void say(const void *id, BOOL wide)
{
    if (count == sizeof said - 1)
        return;
    if (IS_INTRESOURCE(id))
        said[count++] = '0' + (char)(ULONG_PTR)id;
    else
        said[count++] = wide ? (char)*(const WCHAR *)id : *(const char *)id;
    said[count] = 0;
}
static BOOL heard(const char *text)
{
    unsigned length = 0;
    while (text[length])
        length++;
    BOOL right = count == length && same(said, text, length);
    count = 0;
    return right;
}
static BOOL CALLBACK type_a(HMODULE m, char *type, LONG_PTR n) { return say(type, FALSE), m == self && n == 7; }
static BOOL CALLBACK type_w(HMODULE m, WCHAR *type, LONG_PTR n) { return say(type, TRUE), m == self && n == 7; }
static BOOL CALLBACK name_a(HMODULE m, const char *type, char *name, LONG_PTR n)
{
    return say(name, FALSE), m == self && type != NULL && n == 7;
}
static BOOL CALLBACK name_w(HMODULE m, const WCHAR *type, WCHAR *name, LONG_PTR n)
{
    return say(name, TRUE), m == self && type != NULL && n == 7;
}
static BOOL CALLBACK language(HMODULE m, const char *type, const char *name, WORD language, LONG_PTR n)
{
    return say(NUMBER(language & 0x3ff), FALSE), m == self && type == DATA && name == NUMBER(1) && n == 7;
}
static BOOL CALLBACK stop(HMODULE m, char *type, LONG_PTR n)
{
    (void)m, (void)n;
    return say(type, FALSE), FALSE;
}

EXPORT int enumerations(void)
{
    /* Names before numbers, each in order: Picture; 6 strings, 10 data, 16 version. Languages are 0x00c, 0x407, 0x409. */
    CHECK(EnumResourceTypesA(self, type_a, 7) && heard("P6:@"))
    CHECK(EnumResourceTypesW(self, type_w, 7) && heard("P6:@"))
    CHECK(EnumResourceNamesA(self, DATA, name_a, 7) && heard("L12"))
    CHECK(EnumResourceNamesW(self, L"PICTURE", name_w, 7) && heard("L7"))
    CHECK(EnumResourceLanguagesA(self, DATA, NUMBER(1), (ENUMRESLANGPROCA)language, 7) && heard("<79"))
    FAILS(EnumResourceTypesA(self, stop, 7), ERROR_RESOURCE_ENUM_USER_STOP)
    CHECK(heard("P"))
    FAILS(EnumResourceNamesA(self, NUMBER(99), name_a, 7), ERROR_RESOURCE_TYPE_NOT_FOUND)
    FAILS(EnumResourceLanguagesA(self, DATA, NUMBER(99), (ENUMRESLANGPROCA)language, 7), ERROR_RESOURCE_NAME_NOT_FOUND)
    CHECK(count == 0)
    return 0;
}

EXPORT int strings(void)
{
    char text[32];
    WCHAR wide[32];
    CHECK(LoadStringA(self, 16, text, sizeof text) == 7 && same(text, "sixteen", 8))
    CHECK(LoadStringA(self, 18, text, sizeof text) == 12 && same(text, "eighteen \xe2\x82\xac", 13))
    CHECK(LoadStringA(self, 18, text, 12) == 9 && same(text, "eighteen ", 10)) /* no half characters */
    CHECK(LoadStringW(self, 40, wide, 32) == 5 && same(wide, "f\0o\0r\0t\0y\0\0", 12))
    CHECK(LoadStringW(self, 40, wide, 4) == 3 && same(wide, "f\0o\0r\0\0", 8))
    const WCHAR *there = NULL; /* without room: where it is */
    CHECK(LoadStringW(self, 16, (WCHAR *)&there, 0) == 7 && same(there, "s\0i\0x\0t\0e\0e\0n", 14))
    FAILS(LoadStringA(self, 17, text, sizeof text), ERROR_RESOURCE_NAME_NOT_FOUND)
    FAILS(LoadStringA(self, 4000, text, sizeof text), ERROR_RESOURCE_NAME_NOT_FOUND)
    return 0;
}

EXPORT int version(void)
{
    static char block[4096];
    VS_FIXEDFILEINFO *numbers;
    WORD *translation;
    void *at;
    UINT length;
    DWORD size = GetFileVersionInfoSizeW(L"resources.dll", &(DWORD){1});
    CHECK(size != 0 && size <= sizeof block)
    CHECK(GetFileVersionInfoW(L"resources.dll", 0, size, block))
    CHECK(VerQueryValueW(block, L"\\", (void **)&numbers, &length) && length == sizeof *numbers)
    CHECK(numbers->dwSignature == 0xfeef04bd && numbers->dwFileVersionMS == 0x3000e && numbers->dwFileVersionLS == 0xf039e)
    CHECK(VerQueryValueW(block, L"\\VarFileInfo\\Translation", (void **)&translation, &length) && length == 4)
    CHECK(translation[0] == 0x409 && translation[1] == 1200)
    CHECK(VerQueryValueW(block, L"\\StringFileInfo\\040904B0\\productname", &at, &length) && length == 7)
    CHECK(same(at, "C\0a\0f\0\xe9\0 \0\xac\x20\0\0", 14))
    CHECK(VerQueryValueA(block, "\\StringFileInfo\\040904b0\\ProductName", &at, &length) && length == 10)
    CHECK(same(at, "Caf\xc3\xa9 \xe2\x82\xac\0", 10))
    FAILS(VerQueryValueW(block, L"\\StringFileInfo\\040904b0\\Nothing", &at, &length), ERROR_RESOURCE_TYPE_NOT_FOUND)
    block[8] = 7;
    CHECK(GetFileVersionInfoW(L"resources.dll", 0, 8, block) && block[8] == 7) /* cut off */
    FAILS(GetFileVersionInfoSizeA("nowhere.dll", NULL), ERROR_FILE_NOT_FOUND)
    /* KERNEL32 is as old as the system says it is. */
    OSVERSIONINFOW system = {.dwOSVersionInfoSize = sizeof system};
    size = GetFileVersionInfoSizeA("kernel32.dll", NULL);
    CHECK(size != 0 && GetFileVersionInfoA("kernel32.dll", 0, size, block) && GetVersionExW(&system))
    CHECK(VerQueryValueA(block, "\\", (void **)&numbers, &length))
    CHECK(numbers->dwFileVersionMS == (system.dwMajorVersion << 16 | system.dwMinorVersion))
    CHECK(numbers->dwFileVersionLS >> 16 == system.dwBuildNumber)
    return 0;
}

/* The same resources in a file that is not run. */
static int as_data(DWORD flags, int tag)
{
    /* The file of a library that is loaded is that library, with one more reference. */
    static char file[MAX_PATH];
    CHECK(GetModuleFileNameA(self, file, sizeof file))
    CHECK(LoadLibraryExA(file, NULL, flags) == self && FreeLibrary(self))
    char *end = file;
    while (end[4])
        end++;
    static const char extension[] = "-data.dll"; /* the other file of this case, in the same folder */
    for (unsigned n = 0; n < sizeof extension; n++)
        end[n] = extension[n];
    HMODULE data = LoadLibraryExA(file, NULL, flags);
    CHECK(data && data != self && ((ULONG_PTR)data & 3) == (ULONG_PTR)tag)
    const char *bytes = (const char *)((ULONG_PTR)data & ~(ULONG_PTR)3);
    CHECK(((ULONG_PTR)bytes & 0xffff) == 0 && same(bytes, "MZ", 2))
    int line = names_and_numbers_of(data);
    CHECK(line == 0)
    CHECK((line = languages_of(data)) == 0)
    HRSRC version = FindResourceA(data, NUMBER(1), NUMBER(16));
    const char *block = version ? LoadResource(data, version) : NULL;
    CHECK(block && same(block + 6, "V\0S\0_\0V\0", 8))
    /* Nothing else is to be had from it. */
    char text[8];
    FAILS(GetProcAddress(data, "version"), ERROR_MOD_NOT_FOUND)
    FAILS(GetModuleFileNameA(data, text, sizeof text), ERROR_MOD_NOT_FOUND)
    FAILS(DisableThreadLibraryCalls(data), ERROR_MOD_NOT_FOUND)
    MEMORY_BASIC_INFORMATION info;
    CHECK(VirtualQuery(bytes, &info, sizeof info) && info.State == MEM_COMMIT && info.Protect == PAGE_READONLY)
    /* Each load is one of its own. */
    HMODULE again = LoadLibraryExA(file, NULL, flags);
    CHECK(again && again != data && FreeLibrary(again))
    CHECK(FreeLibrary(data))
    CHECK(VirtualQuery(bytes, &info, sizeof info) && info.State == MEM_FREE)
    FAILS(FreeLibrary(data), ERROR_BAD_EXE_FORMAT)
    FAILS(FindResourceA(data, NUMBER(1), DATA), ERROR_RESOURCE_DATA_NOT_FOUND)
    return 0;
}

EXPORT int as_data_file(void)
{
    int line = as_data(LOAD_LIBRARY_AS_DATAFILE, 1);
    CHECK(line == 0)
    return as_data(LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE, 1);
}

EXPORT int as_image_resource(void)
{
    int line = as_data(LOAD_LIBRARY_AS_IMAGE_RESOURCE, 2);
    CHECK(line == 0)
    return as_data(LOAD_LIBRARY_AS_IMAGE_RESOURCE | LOAD_LIBRARY_AS_DATAFILE, 2);
}

EXPORT int flags(void)
{
    FAILS(LoadLibraryExA("nowhere.dll", NULL, LOAD_LIBRARY_AS_DATAFILE), ERROR_FILE_NOT_FOUND)
    FAILS(LoadLibraryExA("nowhere.dll", NULL, 0), ERROR_MOD_NOT_FOUND)
    FAILS(LoadLibraryExA("resources.dll", NULL, 0x4), ERROR_INVALID_PARAMETER)
    FAILS(LoadLibraryExA("resources.dll", NULL, 0x10000), ERROR_INVALID_PARAMETER)
    FAILS(LoadLibraryExA("resources.dll", self, 0), ERROR_INVALID_PARAMETER)
    FAILS(LoadLibraryExA("resources.dll", NULL, LOAD_LIBRARY_AS_DATAFILE | LOAD_LIBRARY_AS_DATAFILE_EXCLUSIVE), ERROR_INVALID_PARAMETER)
    FAILS(LoadLibraryExA("resources.dll", NULL, LOAD_WITH_ALTERED_SEARCH_PATH | LOAD_LIBRARY_SEARCH_SYSTEM32), ERROR_INVALID_PARAMETER)
    FAILS(LoadLibraryExA("resources.dll", NULL, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR), ERROR_INVALID_PARAMETER)
    FAILS(FreeLibrary((HMODULE)((ULONG_PTR)self | 1)), ERROR_BAD_EXE_FORMAT)
    /* A DLL that is loaded is found by its name, wherever the flags would look. */
    HMODULE again = LoadLibraryExW(L"resources", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    CHECK(again == self && FreeLibrary(again))
    return 0;
}
