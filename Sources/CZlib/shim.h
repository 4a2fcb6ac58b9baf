#pragma once
#include <zlib.h>

// Macros that Swift does not see. 16 more window bits ask for gzip's framing.
static inline int weft_deflate_init(z_stream *stream, int level, int window_bits, int memory_level, int strategy) {
    return deflateInit2(stream, level, Z_DEFLATED, window_bits + 16, memory_level, strategy);
}
static inline int weft_inflate_init(z_stream *stream, int window_bits) { return inflateInit2(stream, window_bits + 16); }
