#pragma once
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

// A session keeps a buffer of 16 KB in which it builds frames, of which all but the first bytes are used for long header
// blocks only. The allocator's memory has mostly been used before, and is resident; whole pages inside are given back to the
// kernel, so that they cost nothing until they are written.
static inline void *weft_nghttp2_malloc(size_t size, void *user) {
    (void)user;
    char *memory = malloc(size);
    if (memory && size >= 16384) {
        const uintptr_t page = 4096;
        uintptr_t start = ((uintptr_t)memory + page - 1) & ~(page - 1);
        uintptr_t end = ((uintptr_t)memory + size) & ~(page - 1);
        if (end > start) madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return memory;
}
static inline void weft_nghttp2_free(void *memory, void *user) {
    (void)user;
    free(memory);
}
static inline void *weft_nghttp2_calloc(size_t count, size_t size, void *user) {
    (void)user;
    return calloc(count, size);
}
static inline void *weft_nghttp2_realloc(void *memory, size_t size, void *user) {
    (void)user;
    return realloc(memory, size);
}
/// What sessions are made with; copied by them.
static inline nghttp2_mem weft_nghttp2_memory(void) {
    nghttp2_mem memory = {NULL, weft_nghttp2_malloc, weft_nghttp2_free, weft_nghttp2_calloc, weft_nghttp2_realloc};
    return memory;
}
