/* a DLL with a thread of its own, which it asks to end, and waits for, when it goes */
#include "olib.h"
static HANDLE worker, stop, ready;
static void say(const char *s) { char b[100], *d = oh_cat(b, "dw: "); oh_cat(d, s); tlog(b); }
static DWORD WINAPI work(void *p) { say("worker starts"); SetEvent(ready); WaitForSingleObject(stop, INFINITE); say("worker stops"); return 0; }
BOOL WINAPI DllMain(HINSTANCE h, DWORD r, LPVOID v) {
  if (r == DLL_PROCESS_DETACH) {
    char b[100], *d = oh_cat(b, v ? "process ends, wait for the worker = " : "unloaded, wait for the worker = ");
    SetEvent(stop);
    oh_num(d, WaitForSingleObject(worker, v ? INFINITE : 100), 10);
    say(b);
  }
  return TRUE;
}
__declspec(dllexport) int dw_start(int x) {
  stop = CreateEventA(0, 0, 0, 0); ready = CreateEventA(0, 0, 0, 0);
  worker = CreateThread(0, 0, work, 0, 0, 0);
  return WaitForSingleObject(ready, INFINITE);
}
