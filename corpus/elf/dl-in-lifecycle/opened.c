#include "../common.h"

LIFE("opened")
