#include "../common.h"
#include <stdarg.h>

EXPORT double lazy_sum(int count, ...)
{
    va_list list;
    double sum = 0;
    va_start(list, count);
    while (count--) sum += va_arg(list, double);
    va_end(list);
    return sum;
}
