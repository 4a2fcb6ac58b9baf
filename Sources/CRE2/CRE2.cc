#include "include/CRE2.h"

#include <re2/re2.h>

#include <cstdlib>
#include <cstring>
#include <string>

struct weft_regex {
    RE2 expression;
};

namespace {

re2::StringPiece piece(const void *text, size_t length) {
    return re2::StringPiece(static_cast<const char *>(text), length);
}

char *copied(const std::string &text, size_t *length) {
    char *copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy == nullptr) return nullptr;
    std::memcpy(copy, text.c_str(), text.size() + 1);
    if (length != nullptr) *length = text.size();
    return copy;
}

}  // namespace

weft_regex *weft_regex_new(
    const char *pattern, size_t length, bool ignore_case, char *error, size_t error_size) {
    RE2::Options options(RE2::Quiet);
    options.set_case_sensitive(!ignore_case);
    auto *regex = new weft_regex{RE2(piece(pattern, length), options)};
    if (regex->expression.ok()) return regex;
    if (error_size > 0) {
        std::strncpy(error, regex->expression.error().c_str(), error_size - 1);
        error[error_size - 1] = 0;
    }
    delete regex;
    return nullptr;
}

void weft_regex_free(weft_regex *regex) { delete regex; }

bool weft_regex_matches(const weft_regex *regex, const void *text, size_t length) {
    return RE2::FullMatch(piece(text, length), regex->expression);
}

bool weft_regex_finds(const weft_regex *regex, const void *text, size_t length) {
    return RE2::PartialMatch(piece(text, length), regex->expression);
}

char *weft_regex_replace(
    const weft_regex *regex, const void *text, size_t length, const char *replacement, size_t replacement_length,
    size_t *result_length) {
    std::string result(static_cast<const char *>(text), length);
    if (RE2::GlobalReplace(&result, regex->expression, piece(replacement, replacement_length)) == 0) return nullptr;
    return copied(result, result_length);
}

char *weft_regex_check_replacement(const weft_regex *regex, const char *replacement, size_t length) {
    std::string error;
    if (regex->expression.CheckRewriteString(piece(replacement, length), &error)) return nullptr;
    return copied(error, nullptr);
}

int weft_regex_program_size(const weft_regex *regex) { return regex->expression.ProgramSize(); }
