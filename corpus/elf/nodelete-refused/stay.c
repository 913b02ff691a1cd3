#include "../common.h"

LIFE("stay")
