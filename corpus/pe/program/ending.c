#include <windows.h>

/* Says of the end of the process what it is told: that it is the end, and not only the library's. */
BOOL WINAPI DllMain(HINSTANCE image, DWORD reason, LPVOID reserved)
{
    const char *told = reserved ? "the process ends\n" : "the library goes\n";
    DWORD written;
    if (reason == DLL_PROCESS_DETACH)
        WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), told, lstrlenA(told), &written, NULL);
    return TRUE;
}
