/* a module of a cycle: it needs PEER, whose data it reads; a function would call back for ever */
#include "mod.c"
__declspec(dllimport) extern int CAT(PEER,_data);
__declspec(dllexport) int CAT(NAME,_peer)(int x){return CAT(PEER,_data);}
