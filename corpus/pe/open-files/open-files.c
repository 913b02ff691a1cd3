/* Open files and what is like them: what they say of themselves, transfers, ports, pipes, locks, jobs, NT's own functions.
   Each function here tries some of them and answers 0, or the line of the first thing that is not as Microsoft's reference,
   or where that is silent Wine, has it. */
#include <windows.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

typedef LONG Status;
typedef struct { USHORT length, room; WCHAR *units; } Text;
typedef struct { ULONG length; HANDLE root; Text *name; ULONG flags; void *descriptor, *quality; } Attributes;
typedef struct { ULONG_PTR status, information; } Outcome;

static BOOL same(const WCHAR *a, const WCHAR *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}
static BOOL ends_with(const WCHAR *a, const WCHAR *b)
{
    int n = lstrlenW(a), m = lstrlenW(b);
    return n >= m && same(a + n - m, b);
}
static void *of(const char *library, const char *name) { return GetProcAddress(LoadLibraryA(library), name); }

/* Wine is otherwise in places, of which each says how. */
static BOOL on_wine(void) { return of("ntdll.dll", "wine_get_version") != NULL; }

/* A path in the folder for temporary files that no other process has. */
static WCHAR *in_temp(WCHAR *path, const WCHAR *name)
{
    WCHAR *end = path + GetTempPathW(MAX_PATH, path);
    for (DWORD id = GetCurrentProcessId(); id; id /= 10)
        *end++ = '0' + id % 10;
    *end = 0;
    return lstrcatW(path, name);
}
static HANDLE make(const WCHAR *path, DWORD access, DWORD flags)
{
    return CreateFileW(path, access, 7, NULL, CREATE_ALWAYS, flags, NULL);
}
static BOOL exists(const WCHAR *path) { return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES; }

EXPORT int information(void)
{
    WCHAR path[MAX_PATH], final[MAX_PATH];
    struct { FILE_NAME_INFO info; WCHAR more[MAX_PATH]; } name;
    FILE_STANDARD_INFO standard;
    FILE_BASIC_INFO basic;
    FILE_ATTRIBUTE_TAG_INFO tag;
    FILE_END_OF_FILE_INFO end;
    FILE_ID_INFO id;
    BY_HANDLE_FILE_INFORMATION by_handle;
    DWORD n;
    HANDLE f = make(in_temp(path, L"corpus-information.tmp"), GENERIC_READ | GENERIC_WRITE | DELETE, 0);
    CHECK(f != INVALID_HANDLE_VALUE && WriteFile(f, "0123456789", 10, &n, NULL) && n == 10)
    CHECK(GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard))
    CHECK(standard.EndOfFile.QuadPart == 10 && standard.NumberOfLinks == 1 && !standard.DeletePending && !standard.Directory)
    FAILS(GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard - 1), ERROR_BAD_LENGTH)
    FAILS(GetFileInformationByHandleEx(f, 999, &standard, sizeof standard), ERROR_INVALID_PARAMETER)
    FAILS(GetFileInformationByHandleEx((HANDLE)0x12340, FileStandardInfo, &standard, sizeof standard), ERROR_INVALID_HANDLE)
    end.EndOfFile.QuadPart = 4;
    CHECK(SetFileInformationByHandle(f, FileEndOfFileInfo, (void *)&end, sizeof end))
    CHECK(GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard) && standard.EndOfFile.QuadPart == 4)
    CHECK(!SetFileInformationByHandle(f, FileEndOfFileInfo, (void *)&end, 7))
    CHECK(GetLastError() == ERROR_BAD_LENGTH || on_wine()) /* there the parameter is wrong */
    FAILS(SetFileInformationByHandle(f, FileStandardInfo, (void *)&standard, sizeof standard), ERROR_INVALID_PARAMETER)
    CHECK(GetFileInformationByHandleEx(f, FileBasicInfo, &basic, sizeof basic))
    basic.LastWriteTime.QuadPart = 125911584000000000; /* 2000-01-01 */
    basic.LastAccessTime.QuadPart = basic.CreationTime.QuadPart = basic.ChangeTime.QuadPart = 0;
    basic.FileAttributes = 0;
    CHECK(SetFileInformationByHandle(f, FileBasicInfo, (void *)&basic, sizeof basic))
    CHECK(GetFileInformationByHandleEx(f, FileBasicInfo, &basic, sizeof basic))
    CHECK(basic.LastWriteTime.QuadPart == 125911584000000000 && basic.LastAccessTime.QuadPart > 125911584000000000)
    CHECK(GetFileInformationByHandleEx(f, FileAttributeTagInfo, &tag, sizeof tag) && tag.ReparseTag == 0)
    CHECK(tag.FileAttributes == basic.FileAttributes && !(tag.FileAttributes & FILE_ATTRIBUTE_DIRECTORY))
    CHECK(GetFileInformationByHandleEx(f, FileIdInfo, &id, sizeof id) && GetFileInformationByHandle(f, &by_handle))
    CHECK(*(DWORD *)&id.FileId == by_handle.nFileIndexLow)
    CHECK(GetFileInformationByHandleEx(f, FileNameInfo, &name, sizeof name))
    ((WCHAR *)((char *)&name + 4))[name.info.FileNameLength / 2] = 0;
    CHECK(name.info.FileName[0] == '\\' && ends_with(name.info.FileName, L"corpus-information.tmp"))
    FAILS(GetFileInformationByHandleEx(f, FileNameInfo, &name, 12), ERROR_MORE_DATA)
    CHECK(name.info.FileNameLength > 40)
    n = GetFinalPathNameByHandleW(f, final, MAX_PATH, 0);
    CHECK(n == lstrlenW(final) && !memcmp(final, L"\\\\?\\", 8) && final[5] == ':')
    CHECK(ends_with(final, L"corpus-information.tmp") && GetFinalPathNameByHandleW(f, final, n, 0) == n + 1)
    CHECK(GetFinalPathNameByHandleW(f, final, MAX_PATH, VOLUME_NAME_NONE) && same(final, name.info.FileName))
    FAILS(GetFinalPathNameByHandleW((HANDLE)0x12340, final, MAX_PATH, 0), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(f) && DeleteFileW(path))
    return 0;
}

EXPORT int names_that_go(void)
{
    WCHAR path[MAX_PATH], other[MAX_PATH];
    struct { FILE_RENAME_INFO info; WCHAR more[MAX_PATH]; } to = {{0}};
    FILE_DISPOSITION_INFO yes = {TRUE}, no = {FALSE};
    FILE_STANDARD_INFO standard;
    HANDLE f = make(in_temp(path, L"corpus-goes.tmp"), GENERIC_WRITE | DELETE, FILE_FLAG_DELETE_ON_CLOSE);
    CHECK(f != INVALID_HANDLE_VALUE && exists(path) && CloseHandle(f) && !exists(path))
    f = make(path, GENERIC_WRITE | DELETE, 0);
    CHECK(SetFileInformationByHandle(f, FileDispositionInfo, &yes, sizeof yes))
    CHECK(GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard))
    CHECK(standard.DeletePending || on_wine()) /* which does not tell */
    CHECK(SetFileInformationByHandle(f, FileDispositionInfo, &no, sizeof no) && CloseHandle(f) && exists(path))
    f = make(path, GENERIC_WRITE, 0);
    FAILS(SetFileInformationByHandle(f, FileDispositionInfo, &yes, sizeof yes), ERROR_ACCESS_DENIED)
    CHECK(CloseHandle(f) && exists(path))
    f = CreateFileW(path, DELETE, 7, NULL, OPEN_EXISTING, 0, NULL);
    in_temp(other, L"corpus-went.tmp");
    to.info.FileNameLength = lstrlenW(other) * 2;
    memcpy(to.info.FileName, other, to.info.FileNameLength + 2);
    CHECK(SetFileInformationByHandle(f, FileRenameInfo, &to, sizeof to) && !exists(path) && exists(other))
    CHECK(CloseHandle(make(path, GENERIC_WRITE, 0)) && CloseHandle(f))
    f = CreateFileW(path, DELETE, 7, NULL, OPEN_EXISTING, 0, NULL);
    FAILS(SetFileInformationByHandle(f, FileRenameInfo, &to, sizeof to), ERROR_ALREADY_EXISTS)
    to.info.ReplaceIfExists = TRUE;
    CHECK(SetFileInformationByHandle(f, FileRenameInfo, &to, sizeof to) && !exists(path))
    CHECK(SetFileInformationByHandle(f, FileDispositionInfo, &yes, sizeof yes) && CloseHandle(f) && !exists(other))
    return 0;
}

EXPORT int a_folder(void)
{
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    union { FILE_ID_BOTH_DIR_INFO both; char bytes[2000]; } list;
    FILE_DISPOSITION_INFO yes = {TRUE};
    FILE_STANDARD_INFO standard;
    FILE_ID_BOTH_DIR_INFO *entry = &list.both;
    int files = 0, dots = 0;
    CHECK(CreateDirectoryW(in_temp(folder, L"corpus-folder"), NULL))
    in_temp(path, L"corpus-folder\\one");
    CHECK(CloseHandle(make(path, GENERIC_WRITE, 0)))
    HANDLE f = CreateFileW(folder, GENERIC_READ | DELETE, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    CHECK(f != INVALID_HANDLE_VALUE && GetFileInformationByHandleEx(f, FileStandardInfo, &standard, sizeof standard))
    CHECK(standard.Directory)
    CHECK(GetFileInformationByHandleEx(f, FileIdBothDirectoryInfo, &list, sizeof list))
    for (;;) {
        if (entry->FileName[0] == '.')
            dots++;
        else
            files += entry->FileNameLength == 6 && !memcmp(entry->FileName, L"one", 6) && entry->EndOfFile.QuadPart == 0;
        if (!entry->NextEntryOffset)
            break;
        entry = (void *)((char *)entry + entry->NextEntryOffset);
    }
    CHECK(files == 1 && dots == 2)
    FAILS(GetFileInformationByHandleEx(f, FileIdBothDirectoryInfo, &list, sizeof list), ERROR_NO_MORE_FILES)
    CHECK(GetFileInformationByHandleEx(f, FileIdBothDirectoryRestartInfo, &list, sizeof list))
    FAILS(SetFileInformationByHandle(f, FileDispositionInfo, &yes, sizeof yes), ERROR_DIR_NOT_EMPTY)
    CHECK(DeleteFileW(path) && SetFileInformationByHandle(f, FileDispositionInfo, &yes, sizeof yes))
    CHECK(CloseHandle(f) && !exists(folder))
    return 0;
}

static DWORD told_error, told_bytes;
static void CALLBACK tell(DWORD error, DWORD bytes, OVERLAPPED *o) { told_error = error, told_bytes = bytes + (DWORD)o->Offset; }

EXPORT int transfers(void)
{
    WCHAR path[MAX_PATH];
    char got[8] = {0};
    DWORD n;
    OVERLAPPED o = {0};
    HANDLE f = make(in_temp(path, L"corpus-transfers.tmp"), GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED);
    CHECK(f != INVALID_HANDLE_VALUE && WriteFileEx(f, "abcdef", 6, &o, tell))
    CHECK(SleepEx(1000, TRUE) == WAIT_IO_COMPLETION && told_error == 0 && told_bytes == 6)
    o.Offset = 2;
    CHECK(ReadFileEx(f, got, 3, &o, tell) && SleepEx(1000, TRUE) == WAIT_IO_COMPLETION && told_bytes == 3 + 2)
    CHECK(!memcmp(got, "cde", 4))
    o.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
    o.Offset = 1;
    CHECK(ReadFile(f, got, 2, NULL, &o) || GetLastError() == ERROR_IO_PENDING)
    CHECK(GetOverlappedResult(f, &o, &n, TRUE) && n == 2 && !memcmp(got, "bc", 2))
    CHECK(WaitForSingleObject(o.hEvent, 1000) == WAIT_OBJECT_0)
    o.Offset = 6;
    CHECK(!ReadFile(f, got, 2, NULL, &o) && (GetLastError() == ERROR_HANDLE_EOF || GetLastError() == ERROR_IO_PENDING))
    FAILS(GetOverlappedResult(f, &o, &n, TRUE), ERROR_HANDLE_EOF)
    CHECK(!CancelIoEx(f, NULL) && GetLastError() == ERROR_NOT_FOUND || on_wine()) /* which finds everything */
    CHECK(CancelIo(f))
    FAILS(CancelIo((HANDLE)0x12340), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(o.hEvent) && CloseHandle(f) && DeleteFileW(path))
    return 0;
}

static DWORD WINAPI post_later(void *port)
{
    Sleep(50);
    return PostQueuedCompletionStatus(port, 7, 8, (OVERLAPPED *)9);
}

EXPORT int ports(void)
{
    WCHAR path[MAX_PATH];
    DWORD n;
    ULONG taken;
    ULONG_PTR key;
    OVERLAPPED *which, o = {0};
    OVERLAPPED_ENTRY all[4];
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1), f, t;
    CHECK(port)
    which = &o;
    FAILS(GetQueuedCompletionStatus(port, &n, &key, &which, 0), WAIT_TIMEOUT)
    CHECK(!which)
    FAILS(GetQueuedCompletionStatus(port, &n, &key, &which, 20), WAIT_TIMEOUT)
    CHECK(PostQueuedCompletionStatus(port, 1, 2, NULL) && PostQueuedCompletionStatus(port, 3, 4, &o))
    CHECK(PostQueuedCompletionStatus(port, 5, 6, NULL))
    CHECK(GetQueuedCompletionStatus(port, &n, &key, &which, INFINITE) && n == 1 && key == 2 && !which)
    CHECK(GetQueuedCompletionStatusEx(port, all, 4, &taken, 0, FALSE) && taken == 2)
    CHECK(all[0].dwNumberOfBytesTransferred == 3 && all[0].lpCompletionKey == 4 && all[0].lpOverlapped == &o)
    CHECK(all[1].dwNumberOfBytesTransferred == 5 && all[1].lpCompletionKey == 6)
    FAILS(GetQueuedCompletionStatusEx(port, all, 4, &taken, 0, FALSE), WAIT_TIMEOUT)
    t = CreateThread(NULL, 0, post_later, port, 0, NULL);
    CHECK(GetQueuedCompletionStatus(port, &n, &key, &which, INFINITE) && n == 7 && key == 8 && which == (OVERLAPPED *)9)
    CHECK(WaitForSingleObject(t, INFINITE) == WAIT_OBJECT_0 && CloseHandle(t))
    f = make(in_temp(path, L"corpus-ports.tmp"), GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED);
    CHECK(CreateIoCompletionPort(f, port, 11, 0) == port)
    FAILS(CreateIoCompletionPort(f, port, 12, 0), ERROR_INVALID_PARAMETER)
    CHECK(WriteFile(f, "abc", 3, NULL, &o) || GetLastError() == ERROR_IO_PENDING)
    CHECK(GetQueuedCompletionStatus(port, &n, &key, &which, 1000) && n == 3 && key == 11 && which == &o)
    CHECK(SetFileCompletionNotificationModes(f, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
    FAILS(PostQueuedCompletionStatus(f, 0, 0, NULL), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(f) && DeleteFileW(path) && CloseHandle(port))
    FAILS(CreateIoCompletionPort(INVALID_HANDLE_VALUE, (HANDLE)0x12340, 0, 0), ERROR_INVALID_PARAMETER)
    return 0;
}

EXPORT int pipes(void)
{
    HANDLE in, out;
    char got[8];
    DWORD n, flags;
    SECURITY_ATTRIBUTES inherit = {sizeof inherit, NULL, TRUE};
    CHECK(CreatePipe(&in, &out, &inherit, 0) && GetFileType(in) == FILE_TYPE_PIPE)
    CHECK(GetHandleInformation(in, &flags) && flags == HANDLE_FLAG_INHERIT)
    CHECK(SetHandleInformation(in, HANDLE_FLAG_INHERIT, 0) && GetHandleInformation(in, &flags) && flags == 0)
    CHECK(GetHandleInformation(out, &flags) && flags == HANDLE_FLAG_INHERIT)
    CHECK(SetHandleInformation(in, HANDLE_FLAG_PROTECT_FROM_CLOSE, HANDLE_FLAG_PROTECT_FROM_CLOSE))
    FAILS(CloseHandle(in), ERROR_INVALID_HANDLE)
    CHECK(SetHandleInformation(in, HANDLE_FLAG_PROTECT_FROM_CLOSE, 0))
    FAILS(SetHandleInformation((HANDLE)0x12340, 1, 0), ERROR_INVALID_HANDLE)
    CHECK(WriteFile(out, "abc", 3, &n, NULL) && n == 3 && ReadFile(in, got, 8, &n, NULL) && n == 3 && !memcmp(got, "abc", 3))
    CHECK(CloseHandle(out))
    FAILS(ReadFile(in, got, 8, &n, NULL), ERROR_BROKEN_PIPE)
    CHECK(n == 0 && CloseHandle(in) && CreatePipe(&in, &out, NULL, 4096) && CloseHandle(in))
    FAILS(WriteFile(out, "abc", 3, &n, NULL), ERROR_NO_DATA)
    CHECK(CloseHandle(out))
    return 0;
}

EXPORT int locks(void)
{
    WCHAR path[MAX_PATH];
    OVERLAPPED o = {0}, later = {0};
    HANDLE f = make(in_temp(path, L"corpus-locks.tmp"), GENERIC_READ | GENERIC_WRITE, 0);
    HANDLE g = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 7, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(LockFile(f, 0, 0, 10, 0))
    FAILS(LockFile(g, 5, 0, 10, 0), ERROR_LOCK_VIOLATION)
    CHECK(LockFile(g, 10, 0, 10, 0) && UnlockFile(g, 10, 0, 10, 0) && UnlockFile(f, 0, 0, 10, 0))
    CHECK(LockFileEx(f, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &o) && LockFileEx(g, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &o))
    FAILS(LockFileEx(g, LOCKFILE_FAIL_IMMEDIATELY | LOCKFILE_EXCLUSIVE_LOCK, 1, 1, 0, &o), ERROR_INVALID_PARAMETER)
    later.Offset = 100;
    CHECK(LockFileEx(f, LOCKFILE_EXCLUSIVE_LOCK, 0, ~0u, 0x7fffffff, &later))
    FAILS(LockFileEx(g, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &later), ERROR_LOCK_VIOLATION)
    CHECK(UnlockFileEx(f, 0, ~0u, 0x7fffffff, &later) && LockFileEx(g, LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &later))
    CHECK(UnlockFileEx(f, 0, 1, 0, &o) && CloseHandle(g) && LockFile(f, 0, 0, 200, 0) && CloseHandle(f) && DeleteFileW(path))
    FAILS(LockFile((HANDLE)0x12340, 0, 0, 1, 0), ERROR_INVALID_HANDLE)
    return 0;
}

EXPORT int jobs(void)
{
    BOOL in;
    DWORD n;
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limit = {{{0}}};
    JOBOBJECT_BASIC_LIMIT_INFORMATION basic = {{0}};
    HANDLE job = CreateJobObjectA(NULL, "corpus job"), again = CreateJobObjectW(NULL, L"corpus job");
    CHECK(job && again && GetLastError() == ERROR_ALREADY_EXISTS && CloseHandle(again))
    again = OpenJobObjectW(JOB_OBJECT_ALL_ACCESS, FALSE, L"corpus job");
    CHECK(again && CloseHandle(again))
    CHECK(IsProcessInJob(GetCurrentProcess(), job, &in) && !in)
    limit.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    CHECK(SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limit, sizeof limit))
    CHECK(QueryInformationJobObject(job, JobObjectExtendedLimitInformation, &limit, sizeof limit, &n) && n == sizeof limit)
    CHECK(limit.BasicLimitInformation.LimitFlags == JOB_OBJECT_LIMIT_BREAKAWAY_OK || on_wine()) /* which forgets it */
    CHECK(!SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limit, sizeof limit - 1))
    CHECK(GetLastError() == ERROR_BAD_LENGTH || on_wine()) /* there the parameter is wrong */
    CHECK(!SetInformationJobObject(job, 0, &limit, sizeof limit))
    CHECK(GetLastError() == ERROR_INVALID_PARAMETER || on_wine()) /* which has no such function */
    basic.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    FAILS(SetInformationJobObject(job, JobObjectBasicLimitInformation, &basic, sizeof basic), ERROR_INVALID_PARAMETER)
    FAILS(AssignProcessToJobObject((HANDLE)0x12340, GetCurrentProcess()), ERROR_INVALID_HANDLE)
    CHECK(CloseHandle(job))
    return 0;
}

EXPORT int nt_files(void)
{
    Status(WINAPI * create)(HANDLE *, ACCESS_MASK, Attributes *, Outcome *, LARGE_INTEGER *, ULONG, ULONG, ULONG, ULONG, void *, ULONG) = of("ntdll.dll", "NtCreateFile");
    Status(WINAPI * open)(HANDLE *, ACCESS_MASK, Attributes *, Outcome *, ULONG, ULONG) = of("ntdll.dll", "NtOpenFile");
    Status(WINAPI * read)(HANDLE, HANDLE, void *, void *, Outcome *, void *, ULONG, LARGE_INTEGER *, ULONG *) = of("ntdll.dll", "NtReadFile");
    Status(WINAPI * write)(HANDLE, HANDLE, void *, void *, Outcome *, const void *, ULONG, LARGE_INTEGER *, ULONG *) = of("ntdll.dll", "NtWriteFile");
    Status(WINAPI * close)(HANDLE) = of("ntdll.dll", "NtClose");
    WCHAR path[MAX_PATH + 4] = L"\\??\\", folder[MAX_PATH];
    char got[8];
    Text name = {0, 0, path};
    Attributes at = {sizeof at, NULL, &name, 0x40, NULL, NULL};
    Outcome out;
    LARGE_INTEGER place;
    HANDLE f, root;
    in_temp(path + 4, L"corpus-nt.tmp");
    name.length = lstrlenW(path) * 2;
    /* Create, to read, write, delete and wait; synchronous, and no folder. */
    CHECK(create(&f, 0x130003, &at, &out, NULL, 0x80, 7, 2, 0x60, NULL, 0) == 0 && out.information == 2)
    CHECK(write(f, NULL, NULL, NULL, &out, "abcdef", 6, NULL, NULL) == 0 && (LONG)out.status == 0 && out.information == 6)
    place.QuadPart = 1;
    CHECK(read(f, NULL, NULL, NULL, &out, got, 3, &place, NULL) == 0 && out.information == 3 && !memcmp(got, "bcd", 3))
    CHECK(read(f, NULL, NULL, NULL, &out, got, 8, NULL, NULL) == 0 && out.information == 2 && !memcmp(got, "ef", 2))
    CHECK(read(f, NULL, NULL, NULL, &out, got, 8, NULL, NULL) == 0xc0000011)
    CHECK(close(f) == 0 && close(f) == 0xc0000008)
    CHECK(create(&f, 0x130003, &at, &out, NULL, 0x80, 7, 2, 0x60, NULL, 0) == 0xc0000035)
    int start = GetTempPathW(MAX_PATH, folder);
    root = CreateFileW(folder, GENERIC_READ, 7, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    at.root = root;
    name.units = path + 4 + start;
    name.length = lstrlenW(name.units) * 2;
    CHECK(open(&f, 0x110001, &at, &out, 7, 0x1060) == 0 && out.information == 1 && close(f) == 0) /* goes with the handle */
    CHECK(open(&f, 0x110001, &at, &out, 7, 0x60) == 0xc0000034)
    CHECK(close(root) == 0)
    at.root = NULL;
    CHECK(open(&f, 0x110001, &at, &out, 7, 0x60) == 0xc000003b)
    return 0;
}

EXPORT int statuses(void)
{
    static const ULONG known[][2] = {
        {0, 0}, {0x103, 997}, {0x80000005, 234}, {0x80000006, 18}, {0xc0000001, 31}, {0xc0000002, 1}, {0xc0000005, 998},
        {0xc0000008, 6}, {0xc000000d, 87}, {0xc0000011, 38}, {0xc0000017, 8}, {0xc0000022, 5}, {0xc0000023, 122},
        {0xc0000034, 2}, {0xc0000035, 183}, {0xc000003a, 3}, {0xc000003b, 161}, {0xc0000043, 32}, {0xc0000055, 33},
        {0xc0000061, 1314}, {0xc000007a, 127}, {0xc000007b, 193}, {0xc000007f, 112}, {0xc00000ba, 5}, {0xc00000bb, 50},
        {0xc00000d4, 17}, {0xc00000fd, 1001}, {0xc0000101, 145}, {0xc0000103, 267}, {0xc0000120, 995}, {0xc0000121, 5},
        {0xc0000135, 126}, {0xc0000139, 127}, {0xc0000142, 1114}, {0xc000014b, 109}, {0xc00000b1, 232}, {0xc0000225, 1168},
        {0xc000007c, 1008}, {0xc000007e, 158}, {0xc0000024, 6}, {0xc0000004, 24}, {0xc0000054, 33}, {0xc000009a, 1450},
        {0x80070057, 87}, {0xc0070005, 5}, {0xc0000056, 5}, {0xc000012d, 1455}, {0xc0000185, 1117}, {0xc0000106, 206},
        {0xc00000ab, 231}, {0xc00000ad, 230}, {0xc00000b0, 233}, {0xc00000b2, 535}, {0xc00000b3, 536}, {0xc00000b5, 121},
        {0xc0000018, 487}, {0xc0000010, 1}, {0xc000000f, 2}, {0xc000011f, 4}, {0xc0000033, 123}, {0xc0000095, 534},
        {0xc00000a2, 19}, {0xc00000a3, 21}, {0xc0000184, 22}, {0xc0000275, 4390}, {0xc0000138, 182}, {0x8000001a, 259},
        {0xc0000123, 5}, {0xc0000279, 1920}, {0x102, 1460}, {0xc000000e, 433}, {0xe0001234, 0xe0001234}, {0xc0009999, 317},
    };
    ULONG(WINAPI * error_of)(ULONG) = of("ntdll.dll", "RtlNtStatusToDosError");
    for (int i = 0; i < sizeof known / sizeof *known; i++)
        if (error_of(known[i][0]) != known[i][1])
            return 10000 + i;
    return 0;
}

EXPORT int tokens(void)
{
    BOOL(WINAPI * open)(HANDLE, DWORD, HANDLE *) = of("advapi32.dll", "OpenProcessToken");
    BOOL(WINAPI * look_up)(const char *, const char *, LUID *) = of("advapi32.dll", "LookupPrivilegeValueA");
    BOOL(WINAPI * adjust)(HANDLE, BOOL, TOKEN_PRIVILEGES *, DWORD, TOKEN_PRIVILEGES *, DWORD *) = of("advapi32.dll", "AdjustTokenPrivileges");
    BOOL(WINAPI * profile)(HANDLE, WCHAR *, DWORD *) = of("userenv.dll", "GetUserProfileDirectoryW");
    TOKEN_PRIVILEGES one = {1};
    WCHAR path[MAX_PATH];
    HANDLE token;
    DWORD n = 0;
    CHECK(look_up(NULL, "SeLockMemoryPrivilege", &one.Privileges[0].Luid) && one.Privileges[0].Luid.LowPart == 4)
    CHECK(look_up(NULL, "SeCreateGlobalPrivilege", &one.Privileges[0].Luid) && one.Privileges[0].Luid.LowPart == 30)
    FAILS(look_up(NULL, "SeNothing", &one.Privileges[0].Luid), ERROR_NO_SUCH_PRIVILEGE)
    CHECK(open(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token))
    one.Privileges[0].Luid.LowPart = 2; /* nobody has that one: making tokens */
    one.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    CHECK(adjust(token, FALSE, &one, 0, NULL, NULL) && GetLastError() == ERROR_NOT_ALL_ASSIGNED)
    FAILS(profile(token, NULL, &n), ERROR_INSUFFICIENT_BUFFER)
    CHECK(n > 3 && n < MAX_PATH && profile(token, path, &n) && path[1] == ':' && n == lstrlenW(path) + 1)
    CHECK(CloseHandle(token))
    FAILS(open((HANDLE)0x12340, TOKEN_QUERY, &token), ERROR_INVALID_HANDLE)
    FAILS(adjust((HANDLE)0x12340, FALSE, &one, 0, NULL, NULL), ERROR_INVALID_HANDLE)
    return 0;
}

static volatile LONG heard, first;
static BOOL WINAPI says_no(DWORD event) { return InterlockedExchange((LONG *)&first, 2), FALSE; }
static HANDLE listener;
static BOOL WINAPI says_yes(DWORD event)
{
    DuplicateHandle(GetCurrentProcess(), GetCurrentThread(), GetCurrentProcess(), &listener, 0, FALSE, DUPLICATE_SAME_ACCESS);
    return InterlockedExchange((LONG *)&heard, 1 + event + 10 * first), TRUE;
}

/* A file is no console. */
EXPORT int no_console(void)
{
    WCHAR path[MAX_PATH];
    CONSOLE_SCREEN_BUFFER_INFO info;
    CONSOLE_CURSOR_INFO cursor;
    COORD nowhere = {0, 0};
    DWORD n;
    HANDLE f = make(in_temp(path, L"corpus-console.tmp"), GENERIC_READ | GENERIC_WRITE, 0);
    FAILS(GetConsoleMode(f, &n), ERROR_INVALID_HANDLE)
    FAILS(SetConsoleMode(f, 3), ERROR_INVALID_HANDLE)
    FAILS(GetConsoleScreenBufferInfo(f, &info), ERROR_INVALID_HANDLE)
    FAILS(SetConsoleTextAttribute(f, 7), ERROR_INVALID_HANDLE)
    FAILS(SetConsoleCursorPosition(f, nowhere), ERROR_INVALID_HANDLE)
    FAILS(GetConsoleCursorInfo(f, &cursor), ERROR_INVALID_HANDLE)
    FAILS(WriteConsoleA(f, "x", 1, &n, NULL), ERROR_INVALID_HANDLE)
    FAILS(WriteConsoleW(f, L"x", 1, &n, NULL), ERROR_INVALID_HANDLE)
    FAILS(ReadConsoleW(f, path, 1, &n, NULL), ERROR_INVALID_HANDLE)
    FAILS(GetNumberOfConsoleInputEvents(f, &n), ERROR_INVALID_HANDLE)
    FAILS(FillConsoleOutputCharacterA(f, ' ', 1, nowhere, &n), ERROR_INVALID_HANDLE)
    CHECK(GetFileSize(f, NULL) == 0 && CloseHandle(f) && DeleteFileW(in_temp(path, L"corpus-console.tmp")))
    return 0;
}

EXPORT int handlers_of_interrupts(void)
{
    FAILS(SetConsoleCtrlHandler(says_no, FALSE), ERROR_INVALID_PARAMETER)
    CHECK(SetConsoleCtrlHandler(says_yes, TRUE) && SetConsoleCtrlHandler(says_no, TRUE))
    CHECK(!GenerateConsoleCtrlEvent(7, 0) && GetLastError() == ERROR_INVALID_PARAMETER || on_wine()) /* which takes any */
    if (GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, 0)) { /* where there is a console */
        for (int i = 0; i < 1000 && !heard; i++)
            Sleep(10);
        CHECK(WaitForSingleObject(listener, 10000) == WAIT_OBJECT_0 && CloseHandle(listener)) /* nothing of its thread stays */
        CHECK(heard == 1 + CTRL_BREAK_EVENT + 10 * 2) /* the last one is the first that is called */
    }
    CHECK(SetConsoleCtrlHandler(says_no, FALSE) && SetConsoleCtrlHandler(says_yes, FALSE))
    FAILS(SetConsoleCtrlHandler(says_yes, FALSE), ERROR_INVALID_PARAMETER)
    CHECK(SetConsoleCtrlHandler(NULL, TRUE) && SetConsoleCtrlHandler(NULL, FALSE))
    return 0;
}

EXPORT int machine(void)
{
    OSVERSIONINFOEXA version = {sizeof version, 6};
    BOOL(WINAPI * random)(void *, SIZE_T) = of("bcryptprimitives.dll", "ProcessPrng");
    WCHAR device[MAX_PATH], drive[3] = L"A:", path[MAX_PATH];
    ULONGLONG idle, kernel, user, bytes[4] = {0};
    DWORD drives = GetLogicalDrives(), n;
    CHECK(VerifyVersionInfoA(&version, VER_MAJORVERSION, VerSetConditionMask(0, VER_MAJORVERSION, VER_GREATER_EQUAL)))
    version.dwMajorVersion = 99;
    FAILS(VerifyVersionInfoA(&version, VER_MAJORVERSION, VerSetConditionMask(0, VER_MAJORVERSION, VER_GREATER_EQUAL)), ERROR_OLD_WIN_VERSION)
    CHECK(!random || random(bytes, sizeof bytes) && (bytes[0] | bytes[1]) && bytes[2] != bytes[3])
    CHECK(GetSystemTimes((FILETIME *)&idle, (FILETIME *)&kernel, (FILETIME *)&user) && kernel >= idle)
    GetTempPathW(MAX_PATH, path);
    drive[0] = path[0];
    CHECK(drives >> (path[0] - 'A') & 1)
    n = QueryDosDeviceW(drive, device, MAX_PATH);
    CHECK(n == lstrlenW(device) + 2 && !memcmp(device, L"\\Device\\", 16))
    FAILS(QueryDosDeviceW(drive, device, 5), ERROR_INSUFFICIENT_BUFFER)
    FAILS(QueryDosDeviceW(L"not there:", device, MAX_PATH), ERROR_FILE_NOT_FOUND)
    FAILS(GetBinaryTypeW(in_temp(path, L"corpus-not-there"), &n), ERROR_FILE_NOT_FOUND)
    return 0;
}

static DWORD WINAPI stops(LARGE_INTEGER all, LARGE_INTEGER done, LARGE_INTEGER of_stream, LARGE_INTEGER stream_done, DWORD stream,
                          DWORD reason, HANDLE from, HANDLE to, void *first)
{
    *(DWORD *)first = reason;
    return PROGRESS_CANCEL;
}

/* What one opening lets the others do. */
EXPORT int shares(void)
{
    WCHAR path[MAX_PATH], other[MAX_PATH];
    DWORD n, reason = 7;
    FILETIME written = {0, 30000000}, same_time;
    in_temp(path, L"corpus-shares.tmp"), in_temp(other, L"corpus-shares-2.tmp");
    HANDLE f = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS, 0, NULL), g;
    CHECK(f != INVALID_HANDLE_VALUE && WriteFile(f, "abc", 3, &n, NULL) && SetFileTime(f, NULL, NULL, &written))
    CHECK(CreateFileW(path, GENERIC_WRITE, 7, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE && GetLastError() == ERROR_SHARING_VIOLATION)
    CHECK(CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE && GetLastError() == ERROR_SHARING_VIOLATION)
    CHECK((g = CreateFileW(path, GENERIC_READ, 7, NULL, OPEN_EXISTING, 0, NULL)) != INVALID_HANDLE_VALUE)
    /* What it was not opened for. */
    FAILS(WriteFile(g, "x", 1, &n, NULL), ERROR_ACCESS_DENIED)
    CHECK(!SetEndOfFile(g) && (GetLastError() == ERROR_ACCESS_DENIED || on_wine())) /* which says something else */
    CHECK(on_wine() || !SetFileTime(g, NULL, NULL, &written) && GetLastError() == ERROR_ACCESS_DENIED) /* which lets it */
    CHECK(CloseHandle(g) && (g = CreateFileW(path, 0, 0, NULL, OPEN_EXISTING, 0, NULL)) != INVALID_HANDLE_VALUE) /* looks only */
    FAILS(ReadFile(g, other, 1, &n, NULL), ERROR_ACCESS_DENIED)
    FAILS(DeleteFileW(path), ERROR_SHARING_VIOLATION)
    FAILS(MoveFileExW(path, other, 0), ERROR_SHARING_VIOLATION)
    CHECK(CloseHandle(g) && CloseHandle(f))
    /* Copies are openings too. */
    FAILS(CopyFileW(path, path, FALSE), ERROR_SHARING_VIOLATION)
    CHECK(CopyFileW(path, in_temp(other, L"corpus-shares-2.tmp"), TRUE))
    FAILS(CopyFileW(path, other, TRUE), ERROR_FILE_EXISTS)
    f = CreateFileW(other, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(GetFileTime(f, NULL, NULL, &same_time) && same_time.dwHighDateTime == written.dwHighDateTime)
    FAILS(CopyFileW(path, other, FALSE), ERROR_SHARING_VIOLATION)
    CHECK(CloseHandle(f) && DeleteFileW(other))
    /* Wine calls nobody. */
    CHECK(on_wine() || !CopyFileExW(path, other, stops, &reason, NULL, 0) && GetLastError() == ERROR_REQUEST_ABORTED)
    CHECK(on_wine() || reason == CALLBACK_STREAM_SWITCH && !exists(other))
    return DeleteFileW(path) ? 0 : __LINE__;
}

/* What programs seldom use, or used long ago; and names. */
EXPORT int old_and_seldom(void)
{
    WCHAR path[MAX_PATH], other[MAX_PATH], wide[MAX_PATH];
    char narrow[MAX_PATH], bytes[4] = "";
    OFSTRUCT opened;
    WIN32_FIND_STREAM_DATA stream;
    Text text;
    WCHAR *part;
    in_temp(path, L"corpus-old.tmp"), in_temp(other, L"corpus-old-2.tmp");
    WideCharToMultiByte(CP_ACP, 0, path, -1, narrow, MAX_PATH, NULL, NULL);
    HFILE f = _lcreat(narrow, 0);
    CHECK(f != HFILE_ERROR && _hwrite(f, "abcd", 4) == 4 && _llseek(f, 2, 0) == 2 && _lwrite(f, "", 0) == 0) /* ends here */
    CHECK(_lclose(f) == 0 && (f = _lopen(narrow, OF_READ)) != HFILE_ERROR && _lread(f, bytes, 4) == 2 && bytes[1] == 'b')
    CHECK(_lwrite(f, "x", 1) == HFILE_ERROR && _lclose(f) == 0 && _lclose(f) == HFILE_ERROR)
    CHECK(OpenFile(narrow, &opened, OF_EXIST) == 1 && !lstrcmpiA(opened.szPathName, narrow) && opened.nErrCode == 0)
    if (!on_wine()) { /* which knows no streams */
        HANDLE find = FindFirstStreamW(path, FindStreamInfoStandard, &stream, 0);
        CHECK(find != INVALID_HANDLE_VALUE && stream.StreamSize.QuadPart == 2 && same(stream.cStreamName, L"::$DATA"))
        FAILS(FindNextStreamW(find, &stream), ERROR_HANDLE_EOF)
        CHECK(FindClose(find))
    }
    /* One file takes the name of another, which keeps its own contents under a third. */
    HANDLE new = make(other, GENERIC_WRITE, 0);
    CHECK(CloseHandle(new) && ReplaceFileW(path, other, in_temp(wide, L"corpus-old-3.tmp"), 0, NULL, NULL))
    CHECK(!exists(other) && exists(path) && DeleteFileW(wide))
    FAILS(ReplaceFileW(path, other, NULL, 0, NULL, NULL), ERROR_FILE_NOT_FOUND)
    /* Dots and spaces at the end of a name are not part of it, and nobody writes to what is read-only. */
    CHECK(exists(lstrcatW(lstrcpyW(wide, path), L". .")) && SetFileAttributesW(path, FILE_ATTRIBUTE_READONLY))
    /* Wine asks the host, which lets its administrator. */
    CHECK(on_wine() || make(path, GENERIC_WRITE, 0) == INVALID_HANDLE_VALUE && GetLastError() == ERROR_ACCESS_DENIED)
    FAILS(DeleteFileW(path), ERROR_ACCESS_DENIED)
    CHECK(SetFileAttributesW(path, FILE_ATTRIBUTE_NORMAL) && DeleteFileW(path))
    /* Devices are nobody's to remove. */
    CHECK(!DeleteFileW(L"NUL") && !MoveFileW(L"NUL", path))
    CHECK((new = CreateFileW(L"NUL", GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL)) != INVALID_HANDLE_VALUE && CloseHandle(new))
    /* NT's names for paths. */
    BOOLEAN(WINAPI * to_nt)(const WCHAR *, Text *, WCHAR **, void *) = of("ntdll.dll", "RtlDosPathNameToNtPathName_U");
    void(WINAPI * gives_back)(Text *) = of("ntdll.dll", "RtlFreeUnicodeString");
    CHECK(to_nt(path, &text, &part, NULL) && text.units[0] == '\\' && same(text.units + 4, path) && ends_with(path, part))
    gives_back(&text);
    CHECK(to_nt(L"\\\\server/a", &text, NULL, NULL) && same(text.units, L"\\??\\UNC\\server\\a") && !to_nt(L"", &text, NULL, NULL))
    return 0;
}
