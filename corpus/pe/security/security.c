/* Identifiers, tokens, descriptors. Each function here answers 0, or the line of the first thing that is not as Microsoft's
   reference, or where that is silent Wine, has it. Who the user is and what he may do is another matter on every machine. */
#include <windows.h>
#include <sddl.h>
#include "../common.h"
SILENT

#define CHECK(x)         \
    if (!(x))            \
        return __LINE__;
/* The call fails with this error. */
#define FAILS(call, error) CHECK((SetLastError(0), !(call)) && GetLastError() == (error))

static BOOL same(const void *a, const void *b, int n)
{
    const char *x = a, *y = b;
    while (n && *x == *y)
        x++, y++, n--;
    return !n;
}
static SID_IDENTIFIER_AUTHORITY nt = {SECURITY_NT_AUTHORITY}, world = {SECURITY_WORLD_SID_AUTHORITY}, wide = {{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc}};

EXPORT int identifiers(void)
{
    PSID administrators, copy;
    BYTE room[68];
    CHECK(AllocateAndInitializeSid(&nt, 2, SECURITY_BUILTIN_DOMAIN_RID, DOMAIN_ALIAS_RID_ADMINS, 0, 0, 0, 0, 0, 0, &administrators))
    CHECK(same(administrators, "\1\2\0\0\0\0\0\5\x20\0\0\0\x20\2\0\0", 16))
    CHECK(IsValidSid(administrators) && GetLengthSid(administrators) == 16 && GetSidLengthRequired(2) == 16)
    CHECK(*GetSidSubAuthorityCount(administrators) == 2 && *GetSidSubAuthority(administrators, 1) == 544)
    CHECK(same(GetSidIdentifierAuthority(administrators), &nt, 6))
    CHECK(CopySid(sizeof room, room, administrators) && EqualSid(room, administrators))
    *GetSidSubAuthority(room, 1) = 545;
    CHECK(!EqualSid(room, administrators))
    CHECK(InitializeSid(room, &world, 1) && GetLengthSid(room) == 12 && *GetSidSubAuthority(room, 0) == 0)
    CHECK(FreeSid(administrators) == 0)
    return 0;
}

EXPORT int identifiers_as_text(void)
{
    PSID sid;
    WCHAR *text;
    char *narrow;
    CHECK(ConvertStringSidToSidW(L"S-1-5-32-544", &sid) && same(sid, "\1\2\0\0\0\0\0\5\x20\0\0\0\x20\2\0\0", 16))
    CHECK(ConvertSidToStringSidW(sid, &text) && same(text, L"S-1-5-32-544", 26) && !LocalFree(text))
    CHECK(ConvertSidToStringSidA(sid, &narrow) && same(narrow, "S-1-5-32-544", 13) && !LocalFree(narrow) && !LocalFree(sid))
    CHECK(ConvertStringSidToSidA("BA", &sid) && *GetSidSubAuthority(sid, 1) == 544 && !LocalFree(sid))
    CHECK(ConvertStringSidToSidW(L"WD", &sid) && *GetSidSubAuthorityCount(sid) == 1 && !LocalFree(sid))
    return 0;
}

EXPORT int identifiers_refused(void)
{
    PSID sid = 0;
    BYTE bad[12] = {2, 1}, room[8];
    SID everyone = {1, 1, SECURITY_WORLD_SID_AUTHORITY, {0}};
    FAILS(AllocateAndInitializeSid(&nt, 9, 1, 2, 3, 4, 5, 6, 7, 8, &sid), ERROR_INVALID_SID)
    CHECK(!IsValidSid(bad) && !IsValidSid(0))
    CHECK(!CopySid(8, room, &everyone)) /* why, Wine does not say */
    FAILS(ConvertStringSidToSidW(L"nobody", &sid), ERROR_INVALID_SID)
    FAILS(ConvertStringSidToSidW(0, &sid), ERROR_INVALID_PARAMETER)
    FAILS(ConvertSidToStringSidW(bad, (WCHAR **)&sid), ERROR_INVALID_SID)
    return 0;
}

EXPORT int token(void)
{
    static BYTE room[4096];
    HANDLE token;
    DWORD len = 0, n;
    TOKEN_USER *user = (void *)room;
    TOKEN_GROUPS *groups = (void *)room;
    BOOL member = FALSE;
    SID everyone = {1, 1, SECURITY_WORLD_SID_AUTHORITY, {0}}, nobody = {1, 1, SECURITY_NULL_SID_AUTHORITY, {0}};
    CHECK(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
    FAILS(GetTokenInformation(token, TokenUser, 0, 0, &len), ERROR_INSUFFICIENT_BUFFER)
    CHECK(len >= 16 + 12 && GetTokenInformation(token, TokenUser, user, len, &n) && n == len)
    CHECK(IsValidSid(user->User.Sid) && (BYTE *)user->User.Sid == room + 16 && GetLengthSid(user->User.Sid) == len - 16)
    CHECK(*GetSidSubAuthority(user->User.Sid, 0) == 21)
    CHECK(GetTokenInformation(token, TokenGroups, groups, sizeof room, &n) && groups->GroupCount > 2)
    for (n = 0; n < groups->GroupCount; n++) {
        CHECK(IsValidSid(groups->Groups[n].Sid))
        member |= EqualSid(groups->Groups[n].Sid, &everyone);
    }
    CHECK(member)
    CHECK(GetTokenInformation(token, TokenType, room, 4, &n) && n == 4 && *(DWORD *)room == TokenPrimary)
    CHECK(GetTokenInformation(token, TokenElevation, room, 4, &n) && n == 4 && *(DWORD *)room <= 1)
    CHECK(GetTokenInformation(token, TokenIntegrityLevel, room, sizeof room, &n) && *GetSidSubAuthorityCount(user->User.Sid) == 1)
    CHECK(CheckTokenMembership(0, &everyone, &member) && member && CheckTokenMembership(0, &nobody, &member) && !member)
    CHECK(CloseHandle(token))
    return 0;
}

EXPORT int token_refused(void)
{
    HANDLE token, event = CreateEventA(0, 0, 0, 0);
    DWORD n;
    FAILS(OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, TRUE, &token), ERROR_NO_TOKEN)
    FAILS(OpenProcessToken((HANDLE)0x4712, TOKEN_QUERY, &token), ERROR_INVALID_HANDLE)
    FAILS(GetTokenInformation((HANDLE)0x4712, TokenUser, 0, 0, &n), ERROR_INVALID_HANDLE)
    CHECK(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
    CHECK(!GetTokenInformation(token, 4711, 0, 0, &n)) /* Wine has another error than Windows */
    CHECK(CloseHandle(token) && CloseHandle(event))
    FAILS(GetTokenInformation(token, TokenUser, 0, 0, &n), ERROR_INVALID_HANDLE)
    return 0;
}

EXPORT int privileges(void)
{
    LUID luid;
    CHECK(LookupPrivilegeValueW(0, L"SeDebugPrivilege", &luid) && luid.LowPart == 20 && luid.HighPart == 0)
    CHECK(LookupPrivilegeValueA(0, "seshutdownprivilege", &luid) && luid.LowPart == 19)
    CHECK(LookupPrivilegeValueW(0, L"SeLockMemoryPrivilege", &luid) && luid.LowPart == 4)
    CHECK(LookupPrivilegeValueW(0, L"SeCreateGlobalPrivilege", &luid) && luid.LowPart == 30)
    FAILS(LookupPrivilegeValueW(0, L"SeNothing", &luid), ERROR_NO_SUCH_PRIVILEGE)
    return 0;
}

EXPORT int account(void)
{
    static BYTE room[256];
    WCHAR name[100], domain[100], user[100];
    DWORD n = sizeof room, name_len = 100, domain_len = 100, user_len = 100;
    SID_NAME_USE kind;
    HANDLE token;
    CHECK(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
    CHECK(GetTokenInformation(token, TokenUser, room, n, &n) && CloseHandle(token))
    CHECK(LookupAccountSidW(0, *(PSID *)room, name, &name_len, domain, &domain_len, &kind) && kind == SidTypeUser)
    CHECK(GetUserNameW(user, &user_len) && user_len == name_len + 1 && same(user, name, 2 * user_len))
    n = 1;
    FAILS(GetUserNameW(user, &n), ERROR_INSUFFICIENT_BUFFER)
    CHECK(n == user_len)
    name_len = domain_len = 0;
    FAILS(LookupAccountSidW(0, *(PSID *)room, 0, &name_len, 0, &domain_len, &kind), ERROR_INSUFFICIENT_BUFFER)
    CHECK(name_len == user_len && domain_len > 1)
    return 0;
}

EXPORT int descriptors(void)
{
    SECURITY_DESCRIPTOR d;
    BOOL present, defaulted;
    PACL list = (PACL)1;
    SID everyone = {1, 1, SECURITY_WORLD_SID_AUTHORITY, {0}};
    CHECK(sizeof d == 40 && InitializeSecurityDescriptor(&d, SECURITY_DESCRIPTOR_REVISION) && IsValidSecurityDescriptor(&d))
    CHECK(GetSecurityDescriptorDacl(&d, &present, &list, &defaulted) && !present)
    CHECK(SetSecurityDescriptorDacl(&d, TRUE, 0, FALSE) && GetSecurityDescriptorDacl(&d, &present, &list, &defaulted))
    CHECK(present && !list && !defaulted && d.Control == SE_DACL_PRESENT)
    CHECK(SetSecurityDescriptorOwner(&d, &everyone, TRUE) && SetSecurityDescriptorGroup(&d, &everyone, FALSE))
    CHECK(d.Owner == &everyone && d.Group == &everyone && d.Control == (SE_DACL_PRESENT | SE_OWNER_DEFAULTED))
    CHECK(SetSecurityDescriptorDacl(&d, FALSE, 0, FALSE) && d.Control == SE_OWNER_DEFAULTED)
    FAILS(InitializeSecurityDescriptor(&d, 2), ERROR_UNKNOWN_REVISION)
    return 0;
}

EXPORT int lists(void)
{
    union { ACL list; BYTE room[64]; } u;
    SID everyone = {1, 1, SECURITY_WORLD_SID_AUTHORITY, {0}};
    int n;
    CHECK(InitializeAcl(&u.list, 8 + 2 * 20, ACL_REVISION) && IsValidAcl(&u.list) && u.list.AceCount == 0 && u.list.AclSize == 48)
    CHECK(AddAccessAllowedAce(&u.list, ACL_REVISION, GENERIC_READ, &everyone) && u.list.AceCount == 1)
    CHECK(same(u.room + 8, "\0\0\x14\0\0\0\0\x80\1\1\0\0\0\0\0\1\0\0\0\0", 20))
    CHECK(AddAccessDeniedAce(&u.list, ACL_REVISION, 1, &everyone) && u.list.AceCount == 2 && u.room[28] == 1)
    FAILS(AddAccessAllowedAce(&u.list, ACL_REVISION, 1, &everyone), ERROR_ALLOTTED_SPACE_EXCEEDED)
    CHECK(IsValidAcl(&u.list))
    FAILS(InitializeAcl(&u.list, 7, ACL_REVISION), ERROR_INSUFFICIENT_BUFFER)
    FAILS(InitializeAcl(&u.list, 64, 9), ERROR_INVALID_PARAMETER)
    return 0;
}
