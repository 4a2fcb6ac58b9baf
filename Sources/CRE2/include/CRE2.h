#pragma once
#include <stdbool.h>
#include <stddef.h>

// RE2 as C sees it: regular expressions that match in time linear to the text, whatever the expression.

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_regex weft_regex;

/// NULL when the expression is none; `error` then says why, cut at `error_size` with its terminator.
weft_regex *weft_regex_new(
    const char *pattern, size_t length, bool ignore_case, char *error, size_t error_size);
void weft_regex_free(weft_regex *regex);

/// Whether all of the text matches. Any thread, also several at once.
bool weft_regex_matches(const weft_regex *regex, const void *text, size_t length);
/// Whether some part of the text matches.
bool weft_regex_finds(const weft_regex *regex, const void *text, size_t length);

/// The text with every match replaced; `\0` … `\9` in the replacement stand for groups. Allocated by malloc; NULL without a match.
char *weft_regex_replace(
    const weft_regex *regex, const void *text, size_t length, const char *replacement, size_t replacement_length,
    size_t *result_length);
/// NULL when the replacement can be used with the expression, else a reason allocated by malloc.
char *weft_regex_check_replacement(const weft_regex *regex, const char *replacement, size_t length);

/// RE2's measure of an expression's cost.
int weft_regex_program_size(const weft_regex *regex);

#ifdef __cplusplus
}
#endif
