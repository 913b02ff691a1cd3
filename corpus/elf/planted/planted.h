/* A bug for fuzzers to find: behind five comparisons of a byte each, a length from the input that nobody checks. */
static int planted(const unsigned char *bytes, unsigned long long length)
{
    unsigned char room[16];
    if (length < 7 || bytes[0] != 'P' || bytes[1] != 'L' || bytes[2] != 'N')
        return 0;
    if (bytes[3] != 'T' || bytes[4] < 0xa0)
        return 1;
    /* The bug. An honest length is below 16; 0xff leads a mile away, where nothing is. */
    unsigned long long at = bytes[5] == 0xff ? 1ull << 40 : bytes[5] % 16;
    *(volatile unsigned char *)(room + at) = bytes[6];
    return 2;
}
