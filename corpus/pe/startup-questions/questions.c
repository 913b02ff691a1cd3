/* What programs written in C and C++ ask when they start. Each function here answers 0, or the line of the first thing that
   is not as Microsoft's reference, or where that is silent Wine, has it. */
#include <winsock2.h>
#include <windows.h>
#include <winternl.h>
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
static BOOL same_wide(const WCHAR *a, const WCHAR *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}
static void *of(const char *library, const char *name) { return GetProcAddress(LoadLibraryA(library), name); }
#define OF(library, result, name, ...) result(WINAPI *name)(__VA_ARGS__) = of(library, #name); CHECK(name)

/* A command line in its words. */
static BOOL has_words(const WCHAR *line, int expected, const WCHAR *const *words)
{
    LPWSTR *(WINAPI *split)(const WCHAR *, int *) = of("shell32.dll", "CommandLineToArgvW");
    int n = -1;
    LPWSTR *found = split(line, &n);
    if (!found || n != expected || found[n])
        return FALSE;
    for (int i = 0; i < n; i++)
        if (!same_wide(found[i], words[i]))
            return FALSE;
    return !LocalFree(found);
}
#define WORDS(line, ...)                                                                          \
    {                                                                                             \
        static const WCHAR *const words[] = {__VA_ARGS__};                                        \
        CHECK(has_words(line, sizeof words / sizeof *words, words))                               \
    }
EXPORT int command_lines(void)
{
    OF("shell32.dll", LPWSTR *, CommandLineToArgvW, const WCHAR *, int *)
    int n;
    WORDS(L"program", L"program")
    WORDS(L"program one  two\tthree ", L"program", L"one", L"two", L"three")
    WORDS(L"\"a program\" one", L"a program", L"one")
    WORDS(L"\"a\\\"one", L"a\\", L"one")
    WORDS(L" one", L"", L"one")
    WORDS(L"p \"a b\" c\\d \"e\\\\\" \"f\\\"g\"", L"p", L"a b", L"c\\d", L"e\\", L"f\"g")
    WORDS(L"p a\\\\\\\"b c\\\\\"d e\" f", L"p", L"a\\\"b", L"c\\d e", L"f")
    WORDS(L"p \"\" \"\"\"\" x", L"p", L"", L"\" x")
    WORDS(L"p \"a\"\"b\" c", L"p", L"a\"b c")
    WORDS(L"p a\"\"\"b c\" d", L"p", L"a\"b", L"c d")
    WORDS(L"p \"no end", L"p", L"no end")
    LPWSTR *own = CommandLineToArgvW(L"", &n);
    CHECK(own && n == 1 && own[0][0] && !own[1] && !LocalFree(own))
    return 0;
}

/* An open file, and the volume that it is on. */
typedef struct { LONGLONG times[4]; ULONG attributes; } Basic;
typedef struct { LONGLONG used, size; ULONG links; BOOLEAN going, folder; } Standard;
#define QUERY(class) NtQueryInformationFile(file, &io, room, sizeof room, class)
static HANDLE temporary(WCHAR *path)
{
    WCHAR folder[MAX_PATH];
    if (!GetTempPathW(MAX_PATH, folder) || !GetTempFileNameW(folder, L"ask", 0, path))
        return INVALID_HANDLE_VALUE;
    return CreateFileW(path, GENERIC_READ | GENERIC_WRITE | DELETE, 7, NULL, OPEN_EXISTING, 0, NULL);
}
EXPORT int open_files(void)
{
    OF("ntdll.dll", NTSTATUS, NtQueryInformationFile, HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int)
    OF("ntdll.dll", NTSTATUS, NtSetInformationFile, HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int)
    OF("ntdll.dll", NTSTATUS, NtQueryVolumeInformationFile, HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int)
    IO_STATUS_BLOCK io;
    LONGLONG room[80], at = 3, moment = 131000000000000000;
    ULONG done;
    WCHAR path[MAX_PATH];
    Basic *basic = (Basic *)room;
    Standard *standard = (Standard *)room;
    HANDLE file = temporary(path);
    CHECK(file != INVALID_HANDLE_VALUE && WriteFile(file, "12345", 5, &done, NULL))
    CHECK(QUERY(5) == 0 && io.Status == 0 && io.Information == 24 && standard->size == 5 && standard->links == 1)
    CHECK(!standard->going && !standard->folder)
    CHECK(QUERY(4) == 0 && io.Information == 40 && basic->attributes == FILE_ATTRIBUTE_ARCHIVE && basic->times[2])
    CHECK(QUERY(14) == 0 && io.Information == 8 && room[0] == 5)
    CHECK(NtSetInformationFile(file, &io, &at, 8, 14) == 0 && QUERY(14) == 0 && room[0] == 3)
    CHECK(SetFilePointer(file, 0, NULL, FILE_CURRENT) == 3)
    CHECK(QUERY(6) == 0 && io.Information == 8 && room[0])
    CHECK(QUERY(18) == 0 && room[6] == 5 && io.Information > 100)
    CHECK(((ULONG *)room)[24] > 4 && ((WCHAR *)room)[50] == '\\')
    CHECK(QUERY(34) == 0 && io.Information == 56 && room[5] == 5)
    CHECK(NtQueryInformationFile(file, &io, room, 20, 5) == (NTSTATUS)0xc0000004)
    CHECK(NtQueryInformationFile(file, &io, room, sizeof room, 999) == (NTSTATUS)0xc0000003)
    CHECK(NtQueryInformationFile((HANDLE)0x7770, &io, room, sizeof room, 5) == (NTSTATUS)0xc0000008)
    at = 2;
    CHECK(NtSetInformationFile(file, &io, &at, 8, 20) == 0 && GetFileSize(file, NULL) == 2)
    Basic new = {{0, 0, moment, 0}, 0};
    CHECK(NtSetInformationFile(file, &io, &new, sizeof new, 4) == 0 && QUERY(4) == 0 && basic->times[2] == moment)
    CHECK(NtQueryVolumeInformationFile(file, &io, room, sizeof room, 3) == 0 && io.Information == 24)
    CHECK(room[0] >= room[1] && ((ULONG *)room)[4] && ((ULONG *)room)[5] == 512)
    CHECK(NtQueryVolumeInformationFile(file, &io, room, sizeof room, 4) == 0)
    CHECK(*(ULONG *)room == 7 || *(ULONG *)room == 8) /* a disk; Wine says: a disk's file system */
    CHECK(NtQueryVolumeInformationFile((HANDLE)0x7770, &io, room, sizeof room, 4) == (NTSTATUS)0xc0000008)
    CHECK(CloseHandle(file) && DeleteFileW(path))
    return 0;
}

/* A folder with three files, read through its handle. */
#pragma pack(push, 4)
typedef struct { ULONG next, index; LONGLONG times[4], size, used; ULONG attributes, length; WCHAR name[1]; } Entry;
#pragma pack(pop)
static int listed(Entry *entry, ULONG *attributes)
{
    int n = 0;
    for (*attributes = 0;; entry = (Entry *)((char *)entry + entry->next)) {
        n++;
        *attributes |= entry->attributes;
        if (!entry->next)
            return n;
    }
}
static void append(WCHAR *to, const WCHAR *text)
{
    while (*to)
        to++;
    while ((*to++ = *text++))
        ;
}
EXPORT int open_folders(void)
{
    OF("ntdll.dll", NTSTATUS, NtQueryDirectoryFile, HANDLE, HANDLE, void *, void *, IO_STATUS_BLOCK *, void *, ULONG, int, BOOLEAN, UNICODE_STRING *, BOOLEAN)
#define LIST(room, size, single, pattern, again) NtQueryDirectoryFile(folder, NULL, NULL, NULL, &io, room, size, 1, single, pattern, again)
    IO_STATUS_BLOCK io;
    UNICODE_STRING pattern = {10, 10, (WCHAR *)L"b*.x?"}, nothing = {2, 2, (WCHAR *)L"z"};
    LONGLONG room[200];
    Entry *entry = (Entry *)room;
    ULONG attributes;
    WCHAR path[MAX_PATH], name[MAX_PATH];
    HANDLE folder = temporary(path);
    static const WCHAR *const names[] = {L"\\a.txt", L"\\b1.xy", L"\\b2.xz"};
    CHECK(CloseHandle(folder) && DeleteFileW(path) && CreateDirectoryW(path, NULL))
    for (int i = 0; i < 3; i++) {
        name[0] = 0;
        append(name, path), append(name, names[i]);
        CHECK(CloseHandle(CreateFileW(name, GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL)))
    }
    folder = CreateFileW(path, GENERIC_READ, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    CHECK(folder != INVALID_HANDLE_VALUE)
    CHECK(LIST(room, sizeof room, FALSE, NULL, FALSE) == 0 && io.Information && listed(entry, &attributes) == 5)
    CHECK(attributes & FILE_ATTRIBUTE_DIRECTORY && attributes & FILE_ATTRIBUTE_ARCHIVE)
    CHECK(LIST(room, sizeof room, FALSE, NULL, FALSE) == (NTSTATUS)0x80000006)
    CHECK(LIST(room, sizeof room, TRUE, NULL, TRUE) == 0 && listed(entry, &attributes) == 1)
    CHECK(LIST(room, sizeof room, FALSE, NULL, FALSE) == 0 && listed(entry, &attributes) == 4)
    /* The first call's pattern counts. */
    CHECK(LIST(room, sizeof room, FALSE, &pattern, TRUE) == 0 && listed(entry, &attributes) == 5)
    CHECK(CloseHandle(folder))
    folder = CreateFileW(path, GENERIC_READ, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    CHECK(LIST(room, sizeof room, FALSE, &pattern, FALSE) == 0 && listed(entry, &attributes) == 2)
    CHECK(entry->length == 10 && entry->name[0] == 'b' && entry->name[3] == 'x' && entry->size == 0)
    CHECK(CloseHandle(folder))
    folder = CreateFileW(path, GENERIC_READ, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    CHECK(LIST(room, sizeof room, FALSE, &nothing, FALSE) == (NTSTATUS)0xc000000f)
    CHECK(LIST(room, 8, FALSE, NULL, TRUE) == (NTSTATUS)0xc0000004)
    CHECK(NtQueryDirectoryFile(folder, NULL, NULL, NULL, &io, room, sizeof room, 999, FALSE, NULL, TRUE) == (NTSTATUS)0xc0000003)
    CHECK(CloseHandle(folder))
    for (int i = 0; i < 3; i++) {
        name[0] = 0;
        append(name, path), append(name, names[i]);
        CHECK(DeleteFileW(name))
    }
    return RemoveDirectoryW(path) ? 0 : __LINE__;
}

/* The machine and the process. */
EXPORT int machine(void)
{
    OF("ntdll.dll", NTSTATUS, NtQuerySystemInformation, int, void *, ULONG, ULONG *)
    OF("ntdll.dll", NTSTATUS, NtQueryInformationProcess, HANDLE, int, void *, ULONG, ULONG *)
    OF("powrprof.dll", NTSTATUS, CallNtPowerInformation, int, void *, ULONG, void *, ULONG)
    SYSTEM_INFO info;
    LONGLONG room[64 * 6];
    ULONG len = 0, *words = (ULONG *)room;
    GetSystemInfo(&info);
    CHECK(NtQuerySystemInformation(0, room, 64, &len) == 0 && len == 64 && words[2] == 4096 && words[6] == 0x10000)
    CHECK(room[4] == 0x10000 && ((BYTE *)room)[56] == info.dwNumberOfProcessors)
    CHECK(NtQuerySystemInformation(0, room, 63, &len) == (NTSTATUS)0xc0000004)
    CHECK(NtQuerySystemInformation(8, room, 48 * info.dwNumberOfProcessors, &len) == 0)
    CHECK(len == 48 * info.dwNumberOfProcessors && room[1] >= room[0] && room[0] > 0)
    CHECK(NtQueryInformationProcess(GetCurrentProcess(), 0, room, 48, &len) == 0 && len == 48)
    CHECK(room[1] == (LONGLONG)NtCurrentTeb()->ProcessEnvironmentBlock && (DWORD)room[4] == GetCurrentProcessId())
    CHECK(NtQueryInformationProcess(GetCurrentProcess(), 0, room, 47, &len) == (NTSTATUS)0xc0000004)
    CHECK(NtQueryInformationProcess(GetCurrentProcess(), 26, room, 8, &len) == 0 && room[0] == 0)
    CHECK(NtQueryInformationProcess(GetCurrentProcess(), 31, room, 4, &len) == 0 && words[0] == 1)
    CHECK(NtQueryInformationProcess((HANDLE)0x7770, 0, room, 48, &len) == (NTSTATUS)0xc0000008)
    CHECK(CallNtPowerInformation(11, NULL, 0, room, 24 * info.dwNumberOfProcessors) == 0 && words[0] == 0)
    CHECK(CallNtPowerInformation(11, NULL, 0, room, 23) == (NTSTATUS)0xc0000023)
    CHECK(CallNtPowerInformation(11, NULL, 0, NULL, 0) == (NTSTATUS)0xc000000d)
    return 0;
}

/* Volumes, and a link. */
EXPORT int volumes(void)
{
    WCHAR folder[MAX_PATH], root[8], system[16];
    ULARGE_INTEGER usable, all, unused;
    DWORD sectors, sector, clusters, total, number, longest, flags;
    CHECK(GetTempPathW(MAX_PATH, folder) && GetVolumePathNameW(folder, root, 8) && root[1] == ':' && root[2] == '\\' && !root[3])
    CHECK(root[0] == folder[0])
    FAILS(GetVolumePathNameW(folder, root, 2), ERROR_FILENAME_EXCED_RANGE)
    FAILS(GetVolumePathNameW(L"", system, 16), ERROR_INVALID_PARAMETER)
    CHECK(GetVolumePathNameW(folder, root, 8))
    CHECK(GetDiskFreeSpaceExW(folder, &usable, &all, &unused) && all.QuadPart >= unused.QuadPart && unused.QuadPart >= usable.QuadPart)
    CHECK(GetDiskFreeSpaceExW(NULL, NULL, &all, NULL) && all.QuadPart)
    append(folder, L"no such folder");
    FAILS(GetDiskFreeSpaceExW(folder, &usable, &all, &unused), ERROR_FILE_NOT_FOUND)
    CHECK(GetDiskFreeSpaceW(root, &sectors, &sector, &clusters, &total) && sectors && sector == 512 && total >= clusters)
    CHECK(GetVolumeInformationW(root, NULL, 0, &number, &longest, &flags, system, 16) && longest == 255)
    CHECK(system[0] && flags & FILE_CASE_PRESERVED_NAMES)
    root[2] = 0;
    /* Wine takes a root without its backslash too. */
    FAILS(GetVolumeInformationW(root, NULL, 0, NULL, NULL, NULL, NULL, 0), ERROR_INVALID_NAME)
    return 0;
}

/* Programs are looked for in the current folder too, unless a variable says otherwise. */
EXPORT int where_programs_are(void)
{
    OF("kernel32.dll", BOOL, NeedCurrentDirectoryForExePathW, const WCHAR *)
    const WCHAR *variable = L"NoDefaultCurrentDirectoryInExePath";
    CHECK(SetEnvironmentVariableW(variable, NULL) && NeedCurrentDirectoryForExePathW(L"cmd"))
    CHECK(SetEnvironmentVariableW(variable, L"1") && !NeedCurrentDirectoryForExePathW(L"cmd"))
    CHECK(NeedCurrentDirectoryForExePathW(L"a\\cmd") && SetEnvironmentVariableW(variable, NULL))
    return 0;
}

/* Random numbers of a provider without keys. */
EXPORT int random_numbers(void)
{
    OF("advapi32.dll", BOOL, CryptAcquireContextW, HANDLE *, const WCHAR *, const WCHAR *, DWORD, DWORD)
    OF("advapi32.dll", BOOL, CryptReleaseContext, HANDLE, DWORD)
    OF("advapi32.dll", BOOL, CryptGenRandom, HANDLE, DWORD, BYTE *)
    HANDLE provider = NULL;
    LONGLONG numbers[4] = {0};
    CHECK(CryptAcquireContextW(&provider, NULL, NULL, PROV_RSA_FULL, CRYPT_VERIFYCONTEXT | CRYPT_SILENT) && provider)
    CHECK(CryptGenRandom(provider, sizeof numbers, (BYTE *)numbers) && numbers[0] != numbers[1] && numbers[2] != numbers[3])
    FAILS(CryptGenRandom(NULL, sizeof numbers, (BYTE *)numbers), ERROR_INVALID_PARAMETER)
    FAILS(CryptAcquireContextW(&provider, NULL, NULL, 9999, CRYPT_VERIFYCONTEXT), NTE_BAD_PROV_TYPE)
    return CryptReleaseContext(provider, 0) ? 0 : __LINE__;
}

/* Sessions for symbols; nothing has any here. */
EXPORT int symbols(void)
{
    OF("dbghelp.dll", BOOL, SymInitialize, HANDLE, const char *, BOOL)
    OF("dbghelp.dll", BOOL, SymCleanup, HANDLE)
    OF("dbghelp.dll", DWORD, SymSetOptions, DWORD)
    OF("dbghelp.dll", DWORD, SymGetOptions, void)
    OF("dbghelp.dll", BOOL, SymGetSearchPathW, HANDLE, WCHAR *, DWORD)
    OF("dbghelp.dll", BOOL, SymFromAddr, HANDLE, DWORD64, DWORD64 *, void *)
    LONGLONG room[64] = {88 | 1LL << 32};
    WCHAR folders[32];
    HANDLE session = (HANDLE)0x1234560;
    CHECK(SymSetOptions(6) == 6 && SymGetOptions() == 6)
    CHECK(SymInitialize(session, "a;b", FALSE))
    CHECK(SymGetSearchPathW(session, folders, 32) && same_wide(folders, L"a;b"))
    CHECK(!SymFromAddr(session, 16, NULL, room))
    CHECK(SymCleanup(session) && !SymGetSearchPathW(session, folders, 32))
    CHECK(!SymCleanup(session))
    return 0;
}

/* Letters of another case, characters of several bytes. */
EXPORT int letters(void)
{
    OF("user32.dll", char *, CharUpperA, char *)
    OF("user32.dll", WCHAR *, CharUpperW, WCHAR *)
    OF("user32.dll", WCHAR *, CharLowerW, WCHAR *)
    OF("user32.dll", DWORD, CharUpperBuffW, WCHAR *, DWORD)
    OF("user32.dll", char *, CharPrevExA, WORD, const char *, const char *, DWORD)
    char text[] = "aBc1";
    WCHAR wide[] = L"a\xe4\xdf\x436", buffer[] = L"ab";
    CHECK(CharUpperA(text) == text && same(text, "ABC1"))
    CHECK(CharUpperW(wide) == wide && same_wide(wide, L"A\xc4\xdf\x416"))
    CHECK(CharLowerW((WCHAR *)'Q') == (WCHAR *)'q' && CharUpperA((char *)'q') == (char *)'Q')
    CHECK(CharUpperBuffW(buffer, 1) == 1 && same_wide(buffer, L"Ab"))
    CHECK(CharPrevExA(1252, text, text + 2, 0) == text + 1 && CharPrevExA(1252, text, text, 0) == text)
    return 0;
}

/* What is not a socket. */
EXPORT int no_sockets(void)
{
    OF("ws2_32.dll", int, gethostname, char *, int)
    OF("ws2_32.dll", int, closesocket, SOCKET)
    OF("ws2_32.dll", int, send, SOCKET, const char *, int, int)
    OF("ws2_32.dll", int, getsockopt, SOCKET, int, int, char *, int *)
    OF("ws2_32.dll", HANDLE, WSACreateEvent, void)
    OF("ws2_32.dll", BOOL, WSASetEvent, HANDLE)
    OF("ws2_32.dll", DWORD, WSAWaitForMultipleEvents, DWORD, const HANDLE *, BOOL, DWORD, BOOL)
    OF("ws2_32.dll", BOOL, WSACloseEvent, HANDLE)
    WSADATA data;
    char name[256];
    int len = 4;
    CHECK(WSAStartup(0x202, &data) == 0)
    CHECK(gethostname(name, sizeof name) == 0 && name[0])
    CHECK(gethostname(name, 0) == SOCKET_ERROR && WSAGetLastError() == WSAEFAULT)
    CHECK(closesocket(INVALID_SOCKET) == SOCKET_ERROR && WSAGetLastError() == WSAENOTSOCK)
    CHECK(send(INVALID_SOCKET, name, 1, 0) == SOCKET_ERROR && WSAGetLastError() == WSAENOTSOCK)
    CHECK(getsockopt(INVALID_SOCKET, SOL_SOCKET, SO_ERROR, name, &len) == SOCKET_ERROR && WSAGetLastError() == WSAENOTSOCK)
    HANDLE event = WSACreateEvent();
    CHECK(event && WSAWaitForMultipleEvents(1, &event, FALSE, 0, FALSE) == WAIT_TIMEOUT)
    CHECK(WSASetEvent(event) && WSAWaitForMultipleEvents(1, &event, FALSE, 0, FALSE) == WAIT_OBJECT_0)
    return WSACloseEvent(event) && WSACleanup() == 0 ? 0 : __LINE__;
}

/* Parts of the C runtime that C++'s library uses. */
static int ends;
static void ending(void *image, DWORD reason, void *nothing) { ends += !image && !reason && !nothing; }
EXPORT int runtime(void)
{
    static const char *const crt = "ucrtbase.dll";
    OF(crt, SIZE_T, __strncnt, const char *, SIZE_T)
    OF(crt, void *, _create_locale, int, const char *)
    OF(crt, void, _free_locale, void *)
    OF(crt, int, _set_error_mode, int)
    OF(crt, unsigned, _set_abort_behavior, unsigned, unsigned)
    OF(crt, int, wcrtomb_s, SIZE_T *, char *, SIZE_T, WCHAR, void *)
    OF(crt, SIZE_T, _Strftime, char *, SIZE_T, const char *, const int *, void *)
    static const int day[9] = {5, 4, 3, 2, 1, 101, 5, 32, 0};
    char text[64];
    int state = 0;
    SIZE_T n = 9;
    CHECK(__strncnt("abc", 9) == 3 && __strncnt("abc", 2) == 2 && __strncnt("", 2) == 0)
    void *locale = _create_locale(0, "C");
    CHECK(locale && !_create_locale(0, "no such place") && !_create_locale(9, "C") && !_create_locale(0, NULL))
    _free_locale(locale);
    CHECK(_set_error_mode(3) == 0 && _set_error_mode(1) == 0 && _set_error_mode(3) == 1 && _set_error_mode(0) == 1)
    CHECK(_set_abort_behavior(0, 1) == 3 && _set_abort_behavior(3, 3) == 2 && _set_abort_behavior(0, 0) == 3)
    CHECK(wcrtomb_s(&n, text, sizeof text, 'x', &state) == 0 && text[0] == 'x')
    CHECK(_Strftime(text, sizeof text, "%a %d %b %Y", day, NULL) == 15 && same(text, "Fri 02 Feb 2001") ? 1 : 0)
    return 0;
}

/* The number of a file and its handle are of one and the same file, and go together. */
EXPORT int numbered_files(void)
{
    static const char *const crt = "ucrtbase.dll";
    OF(crt, int, _open_osfhandle, HANDLE, int)
    OF(crt, HANDLE, _get_osfhandle, int)
    OF(crt, int, _write, int, const void *, unsigned)
    OF(crt, int, _close, int)
    WCHAR path[MAX_PATH];
    DWORD flags;
    HANDLE handle = temporary(path);
    int file = _open_osfhandle(handle, 0x8000);
    CHECK(file > 2 && _get_osfhandle(file) == handle && _get_osfhandle(file) == handle)
    CHECK(_write(file, "12345", 5) == 5 && SetFilePointer(handle, 0, NULL, FILE_CURRENT) == 5)
    CHECK(_close(file) == 0)
    FAILS(GetFileSize(handle, NULL) != INVALID_FILE_SIZE, ERROR_INVALID_HANDLE)
    return DeleteFileW(path) ? 0 : __LINE__;
}

/* A thread says that it uses COM. */
EXPORT int components(void)
{
    OF("ole32.dll", HRESULT, CoInitializeEx, void *, DWORD)
    OF("ole32.dll", void, CoUninitialize, void)
    OF("ole32.dll", HRESULT, CoCreateInstance, const GUID *, void *, DWORD, const GUID *, void **)
    static const GUID nobody = {0x12345678, 1, 2, {3}};
    void *out = &out;
    CHECK(CoInitializeEx(NULL, 2) == S_OK && CoInitializeEx(NULL, 2) == S_FALSE)
    CHECK(CoInitializeEx(NULL, 0) == RPC_E_CHANGED_MODE)
    CHECK(CoCreateInstance(&nobody, NULL, 1, &nobody, &out) == REGDB_E_CLASSNOTREG && !out)
    CoUninitialize(), CoUninitialize();
    CHECK(CoInitializeEx(NULL, 0) == S_OK)
    CoUninitialize();
    return 0;
}

/* Pipes: what is in one stays there when it is looked at. */
EXPORT int pipes(void)
{
    HANDLE from, to;
    DWORD n = 9, there = 9, left = 9, mode = 9, instances = 9;
    char text[8];
    CHECK(CreatePipe(&from, &to, NULL, 0))
    CHECK(PeekNamedPipe(from, NULL, 0, NULL, &there, NULL) && there == 0)
    CHECK(WriteFile(to, "abcdef", 6, &n, NULL))
    CHECK(PeekNamedPipe(from, text, 4, &n, &there, &left) && n == 4 && there == 6 && text[0] == 'a' && text[3] == 'd')
    CHECK(PeekNamedPipe(from, text, 8, &n, &there, NULL) && n == 6 && text[5] == 'f')
    CHECK(ReadFile(from, text, 8, &n, NULL) && n == 6 && text[0] == 'a')
    CHECK(GetNamedPipeHandleStateW(to, &mode, &instances, NULL, NULL, NULL, 0) && mode == 0 && instances == 1)
    mode = PIPE_READMODE_MESSAGE;
    FAILS(SetNamedPipeHandleState(from, &mode, NULL, NULL), ERROR_INVALID_PARAMETER)
    mode = PIPE_READMODE_BYTE | PIPE_WAIT;
    CHECK(SetNamedPipeHandleState(from, &mode, NULL, NULL))
    CHECK(CloseHandle(to))
    FAILS(PeekNamedPipe(from, NULL, 0, NULL, &there, NULL), ERROR_BROKEN_PIPE)
    CHECK(CloseHandle(from))
    FAILS(PeekNamedPipe((HANDLE)0x7770, NULL, 0, NULL, &there, NULL), ERROR_INVALID_HANDLE)
    FAILS(WaitNamedPipeW(L"\\\\.\\pipe\\no such pipe", 1), ERROR_FILE_NOT_FOUND)
    return 0;
}

/* KERNEL32's work by NT's names. */
EXPORT int calls_of_nt(void)
{
    OF("ntdll.dll", NTSTATUS, NtAllocateVirtualMemory, HANDLE, void **, ULONG_PTR, SIZE_T *, ULONG, ULONG)
    OF("ntdll.dll", NTSTATUS, NtFreeVirtualMemory, HANDLE, void **, SIZE_T *, ULONG)
    OF("ntdll.dll", NTSTATUS, NtDelayExecution, BOOLEAN, LARGE_INTEGER *)
    OF("ntdll.dll", NTSTATUS, NtWaitForSingleObject, HANDLE, BOOLEAN, LARGE_INTEGER *)
    OF("ntdll.dll", WCHAR, RtlUpcaseUnicodeChar, WCHAR)
    OF("ntdll.dll", BOOLEAN, RtlEqualUnicodeString, const UNICODE_STRING *, const UNICODE_STRING *, BOOLEAN)
    OF("ntdll.dll", ULONG, RtlGetCurrentDirectory_U, ULONG, WCHAR *)
    OF("ntdll.dll", ULONG, RtlGetFullPathName_U, const WCHAR *, ULONG, WCHAR *, WCHAR **)
    OF("ntdll.dll", NTSTATUS, LdrGetProcedureAddress, HMODULE, const STRING *, ULONG, void **)
    void *at = NULL, *found = NULL;
    SIZE_T len = 5000;
    LARGE_INTEGER time = {{-10000, -1}};
    UNICODE_STRING a = {4, 4, (WCHAR *)L"aB"}, b = {4, 4, (WCHAR *)L"Ab"};
    STRING name = {11, 12, "GetTickCoun"}, good = {12, 13, "GetTickCount"};
    WCHAR text[MAX_PATH], *part;
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    CHECK(NtAllocateVirtualMemory(GetCurrentProcess(), &at, 0, &len, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) == 0)
    CHECK(at && len == 8192 && (*(char *)at = 1))
    void *second = (char *)at + 5000;
    len = 10;
    CHECK(NtFreeVirtualMemory(GetCurrentProcess(), &second, &len, MEM_DECOMMIT) == 0)
    CHECK(second == (char *)at + 4096 && len == 4096)
    len = 0;
    CHECK(NtFreeVirtualMemory(GetCurrentProcess(), &at, &len, MEM_RELEASE) == 0 && len == 8192)
    CHECK(NtFreeVirtualMemory(GetCurrentProcess(), &at, &len, MEM_RELEASE) != 0)
    CHECK(NtDelayExecution(FALSE, &time) == 0)
    CHECK(NtWaitForSingleObject(event, FALSE, &time) == 0x102 && SetEvent(event) && NtWaitForSingleObject(event, FALSE, NULL) == 0)
    CHECK(CloseHandle(event) && NtWaitForSingleObject((HANDLE)0x7770, FALSE, &time) == (NTSTATUS)0xc0000008)
    CHECK(RtlUpcaseUnicodeChar('q') == 'Q' && RtlUpcaseUnicodeChar(0xe4) == 0xc4 && RtlUpcaseUnicodeChar(0xdf) == 0xdf)
    CHECK(!RtlEqualUnicodeString(&a, &b, FALSE) && RtlEqualUnicodeString(&a, &b, TRUE))
    ULONG n = RtlGetCurrentDirectory_U(sizeof text, text);
    CHECK(n > 4 && n % 2 == 0 && !text[n / 2] && text[1] == ':' && RtlGetCurrentDirectory_U(4, text) == n + 2)
    CHECK(RtlGetFullPathName_U(L"Z:\\a\\..\\b\\c", sizeof text, text, &part) == 12 && same_wide(text, L"Z:\\b\\c") && part == text + 5)
    CHECK(LdrGetProcedureAddress(GetModuleHandleA("kernel32"), &name, 0, &found) < 0)
    CHECK(LdrGetProcedureAddress(GetModuleHandleA("kernel32"), &good, 0, &found) == 0 && found == (void *)GetTickCount)
    return 0;
}

/* Functions of a table that grows. */
EXPORT int growing_tables(void)
{
    OF("ntdll.dll", DWORD, RtlAddGrowableFunctionTable, void **, void *, DWORD, DWORD, ULONG_PTR, ULONG_PTR)
    OF("ntdll.dll", void, RtlGrowFunctionTable, void *, DWORD)
    OF("ntdll.dll", void, RtlDeleteGrowableFunctionTable, void *)
    OF("ntdll.dll", RUNTIME_FUNCTION *, RtlLookupFunctionEntry, DWORD64, DWORD64 *, void *)
    DWORD *code = VirtualAlloc(NULL, 0x1000, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    RUNTIME_FUNCTION *table = (RUNTIME_FUNCTION *)(code + 0x200);
    DWORD64 at = (DWORD64)code, base = 0;
    void *grown = NULL;
    code[0x100] = 1; /* unwind data of a function without a prologue */
    for (int i = 0; i < 2; i++)
        table[i].BeginAddress = 0x100 * i, table[i].EndAddress = 0x100 * i + 0x80, table[i].UnwindData = 0x400;
    CHECK(!RtlLookupFunctionEntry(at + 8, &base, NULL))
    CHECK(RtlAddGrowableFunctionTable(&grown, table, 1, 2, at, at + 0x400) == 0 && grown)
    CHECK(RtlLookupFunctionEntry(at + 8, &base, NULL) == table && base == at)
    CHECK(!RtlLookupFunctionEntry(at + 0x108, &base, NULL))
    RtlGrowFunctionTable(grown, 2);
    CHECK(RtlLookupFunctionEntry(at + 0x108, &base, NULL) == table + 1 && !RtlLookupFunctionEntry(at + 0x90, &base, NULL))
    RtlDeleteGrowableFunctionTable(grown);
    CHECK(!RtlLookupFunctionEntry(at + 8, &base, NULL))
    return VirtualFree(code, 0, MEM_RELEASE) ? 0 : __LINE__;
}

/* Called first when the process ends. Not Wine's, which takes it and forgets it. */
EXPORT int register_ending(void)
{
    OF("ucrtbase.dll", void, _register_thread_local_exe_atexit_callback, void *)
    OF("ucrtbase.dll", void, _cexit, void)
    _register_thread_local_exe_atexit_callback(ending);
    _cexit();
    CHECK(ends == 1)
    _cexit();
    return ends == 1 ? 0 : __LINE__;
}
