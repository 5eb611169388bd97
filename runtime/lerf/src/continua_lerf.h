/* LeRF-L and LeRF-G as look-up tables (LUTs): upscaling and warping of pictures, in plain C.
 *
 *     continua_lerf *tables;
 *     const char *failure = continua_lerf_open("lerf-g.safetensors", &tables);
 *     if (!failure) failure = continua_lerf_upscale(tables, &picture, &larger, 2);
 *     if (failure) fprintf(stderr, "%s\n", failure);
 *     continua_lerf_close(tables);
 *
 * Every function that can fail returns NULL when it has done its work, else the reason, one line that needs no freeing.
 * Tables are not changed by their use: several threads may use the same ones at once. */
#ifndef CONTINUA_LERF_H
#define CONTINUA_LERF_H

#include <stdint.h>

#define CONTINUA_LERF_VERSION 1

#if defined(__GNUC__)
#define CONTINUA_LERF_API __attribute__((visibility("default")))
#else
#define CONTINUA_LERF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Pixels in memory. Strides are in bytes and may be negative; `data` is the first channel of the upper left pixel.
 * `bits` of a value are 8 (uint8_t) or 16 (uint16_t, in the machine's byte order), 0 to 255 or 65535. Channels, 1 to 64,
 * are treated alike: colours as they are stored, without gamma, alpha not multiplied with them. */
typedef struct {
    void *data;
    int64_t height, width;
    int32_t channels, bits;
    int64_t row_stride, pixel_stride, channel_stride;
} continua_picture;

typedef struct continua_lerf continua_lerf;

/* CONTINUA_LERF_VERSION of the library. */
CONTINUA_LERF_API int32_t continua_lerf_version(void);

/* Reads the LUTs in a .safetensors file, as tools.export_lut and tools.convert write them. Its metadata hold as JSON the
 * "model", {"name": "lerf-lut", "args": {"kernel": "linear" or "gauss", "modes": the patterns, such as "sct", "support":
 * 2 or 4, "antialias": true or false}}, and "tables", {"interval": 16}; its tensors are int8, s1_MODEr0 (83521, 1),
 * s2_MODEr0 and s2_MODEr1 (83521, 1 or 3). On failure `*tables` is NULL. */
CONTINUA_LERF_API const char *continua_lerf_open(const char *path, continua_lerf **tables);

/* The same from LUTs in memory, which are copied: for every mode s1_MODEr0, then for every mode s2_MODEr0, s2_MODEr1. */
CONTINUA_LERF_API const char *continua_lerf_make(const char *kernel, const char *modes, int32_t support,
                                                 int32_t antialias, const int8_t *const *luts, continua_lerf **tables);

CONTINUA_LERF_API void continua_lerf_close(continua_lerf *tables);

/* Paints `picture` at the size of `output`, of as many channels and either depth. Where that is smaller, kernels are
 * widened to the size of the output's pixels unless the LUTs were made without antialiasing. `threads` from 1. */
CONTINUA_LERF_API const char *continua_lerf_upscale(const continua_lerf *tables, const continua_picture *picture,
                                                    continua_picture *output, int32_t threads);

/* The same of a part of the whole picture at height x width: the one as large as `output`, from row `top` and column
 * `left` on. */
CONTINUA_LERF_API const char *continua_lerf_upscale_part(const continua_lerf *tables, const continua_picture *picture,
                                                         int64_t height, int64_t width, int64_t top, int64_t left,
                                                         continua_picture *output, int32_t threads);

/* Paints `picture` under a homography, nine numbers row by row that map its pixels (x, y, 1) to the output's; the
 * centres of pixels are whole numbers. Output pixels outside the picture stay as they were. `inside`, unless NULL, gets
 * 1 where an output pixel was painted and 0 elsewhere; its rows are `inside_stride` bytes apart. */
CONTINUA_LERF_API const char *continua_lerf_warp(const continua_lerf *tables, const continua_picture *picture,
                                                 const double *homography, continua_picture *output, uint8_t *inside,
                                                 int64_t inside_stride, int32_t threads);

#ifdef __cplusplus
}
#endif

#endif
