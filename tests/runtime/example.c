/* Enlarges a binary PPM by 2: example lerf-g.safetensors in.ppm out.ppm */
#include <stdio.h>
#include <stdlib.h>

#include "continua_lerf.h"

static int fail(const char *reason) {
    fprintf(stderr, "%s\n", reason);
    return 1;
}

int main(int count, char **arguments) {
    long width, height;
    continua_lerf *tables;
    if (count != 4) return fail("give LUTs, a picture and an output");
    FILE *file = fopen(arguments[2], "rb");
    if (!file || fscanf(file, "P6 %ld %ld 255", &width, &height) != 2 || fgetc(file) != '\n') return fail("no PPM");
    unsigned char *from = malloc(3 * width * height), *to = malloc(12 * width * height);
    if (!from || !to || fread(from, 3 * width, height, file) != (size_t)height) return fail("the picture has an end");
    fclose(file);
    continua_picture picture = {from, height, width, 3, 8, 3 * width, 3, 1};
    continua_picture larger = {to, 2 * height, 2 * width, 3, 8, 6 * width, 3, 1};
    const char *failure = continua_lerf_open(arguments[1], &tables);
    if (!failure) failure = continua_lerf_upscale(tables, &picture, &larger, 2);
    if (failure) return fail(failure);
    continua_lerf_close(tables);
    if (!(file = fopen(arguments[3], "wb"))) return fail("the output cannot be written");
    fprintf(file, "P6 %ld %ld 255\n", 2 * width, 2 * height);
    fwrite(to, 6 * width, 2 * height, file);
    free(from);
    free(to);
    return fclose(file) ? fail("the output is not written") : 0;
}
