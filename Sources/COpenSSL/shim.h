#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

// Macros and variadics, which Swift cannot call.

static inline EVP_PKEY *weft_generate_p256(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"); }
static inline EVP_PKEY *weft_generate_rsa(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }

static inline long weft_bio_memory(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }
static inline void weft_bio_set_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void weft_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

static inline int weft_ctx_set_versions(SSL_CTX *ctx, int lowest, int highest) {
    return SSL_CTX_set_min_proto_version(ctx, lowest) && SSL_CTX_set_max_proto_version(ctx, highest);
}
// No renegotiation (its floods, its attacks) and no compression (CRIME).
static const uint64_t weft_options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
// An idle session gives its record buffers back; a write that is repeated may come from another address.
static const long weft_mode = SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
static inline void weft_ctx_set_mode(SSL_CTX *ctx, long mode) { SSL_CTX_set_mode(ctx, mode); }
static inline long weft_ctx_set_session_cache_mode(SSL_CTX *ctx, long mode) {
    return SSL_CTX_set_session_cache_mode(ctx, mode);
}
static inline int weft_ctx_add_chain(SSL_CTX *ctx, X509 *cert) { return (int)SSL_CTX_add1_chain_cert(ctx, cert); }
static inline int weft_ctx_set_groups(SSL_CTX *ctx, const char *groups) {
    return (int)SSL_CTX_set1_groups_list(ctx, groups);
}
static inline void weft_ctx_on_server_name(SSL_CTX *ctx, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(ctx, callback);
    SSL_CTX_set_tlsext_servername_arg(ctx, argument);
}
static inline int weft_ssl_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}
static inline const char *weft_ssl_version(const SSL *ssl) { return SSL_get_version(ssl); }

static inline int weft_stack_count_x509(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline X509 *weft_stack_x509(const STACK_OF(X509) *stack, int index) { return sk_X509_value(stack, index); }
static inline int weft_stack_count_names(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
static inline GENERAL_NAME *weft_stack_name(const GENERAL_NAMES *names, int index) {
    return sk_GENERAL_NAME_value(names, index);
}
static inline int weft_general_name_type(const GENERAL_NAME *name) { return name->type; }
static inline const ASN1_STRING *weft_general_name_string(const GENERAL_NAME *name) {
    // dNSName, rfc822Name, uniformResourceIdentifier and iPAddress all hold an ASN1_STRING in the same union.
    return name->d.ia5;
}
static inline int weft_stack_push_x509(STACK_OF(X509) *stack, X509 *cert) { return sk_X509_push(stack, cert); }
static inline STACK_OF(X509) *weft_stack_new_x509(void) { return sk_X509_new_null(); }
static inline void weft_stack_free_x509(STACK_OF(X509) *stack) { sk_X509_free(stack); }
static inline STACK_OF(X509_EXTENSION) *weft_stack_new_extensions(void) { return sk_X509_EXTENSION_new_null(); }
static inline int weft_stack_push_extension(STACK_OF(X509_EXTENSION) *stack, X509_EXTENSION *extension) {
    return sk_X509_EXTENSION_push(stack, extension);
}
static inline void weft_stack_free_extensions(STACK_OF(X509_EXTENSION) *stack) {
    sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}
