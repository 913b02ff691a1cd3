/* a DLL for another machine */
int __stdcall DllMain(void*h,int r,void*v){return 1;}
