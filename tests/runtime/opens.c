/* Opens every file that it is given, and says in a line each why it could not; then calls what must be refused. */
#include <stdio.h>

#include "continua_lerf.h"

int main(int count, char **paths) {
    continua_lerf *tables = NULL;
    unsigned char pixel[3] = {0, 0, 0};
    continua_picture one = {pixel, 1, 1, 3, 8, 3, 3, 1}, none = one, odd = one, other = one, huge = one;
    const double flat[9] = {1, 0, 0, 1, 0, 0, 0, 0, 1};
    for (int i = 1; i < count; ++i) {
        const char *failure = continua_lerf_open(paths[i], &tables);
        puts(failure ? failure : "opened");
        if (i < count - 1) continua_lerf_close(tables);
    }
    none.data = NULL;
    odd.bits = 12;
    other.channels = 1;
    huge.width = huge.height = INT32_MAX;
    puts(continua_lerf_upscale(tables, &none, &one, 1));
    puts(continua_lerf_upscale(tables, &one, &odd, 1));
    puts(continua_lerf_upscale(tables, &one, &other, 1));
    puts(continua_lerf_upscale(tables, &huge, &one, 1));
    puts(continua_lerf_upscale(tables, &one, &one, 0));
    puts(continua_lerf_upscale(NULL, &one, &one, 1));
    puts(continua_lerf_upscale_part(tables, &one, 4, 4, 4, 0, &one, 1));
    puts(continua_lerf_warp(tables, &one, flat, &one, NULL, 0, 1));
    puts(continua_lerf_make("gauss", "sx", 2, 1, NULL, &tables) ? "refused" : "made");
    return 0;
}
