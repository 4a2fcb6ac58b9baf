#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

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
static const uint64_t weft_option_server_order = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
static const uint64_t weft_option_no_ticket = SSL_OP_NO_TICKET;
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
static inline int weft_ctx_set_signature_algorithms(SSL_CTX *ctx, const char *names) {
    return (int)SSL_CTX_set1_sigalgs_list(ctx, names);
}
static inline void weft_ctx_clear_chain(SSL_CTX *ctx) { SSL_CTX_clear_chain_certs(ctx); }
static inline void weft_ctx_set_session_cache_size(SSL_CTX *ctx, long entries) { SSL_CTX_sess_set_cache_size(ctx, entries); }
static inline void weft_ctx_set_object(SSL_CTX *ctx, void *object) { SSL_CTX_set_ex_data(ctx, 0, object); }
static inline void *weft_ssl_context_object(const SSL *ssl) { return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0); }
static inline void weft_ssl_set_object(SSL *ssl, void *object) { SSL_set_ex_data(ssl, 0, object); }
static inline void *weft_ssl_object(const SSL *ssl) { return SSL_get_ex_data(ssl, 0); }
static inline SSL *weft_store_ssl(const X509_STORE_CTX *context) {
    return (SSL *)X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
}
static inline int weft_mac_use_sha256(EVP_MAC_CTX *context, const unsigned char *key, size_t count) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, count),
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_END,
    };
    return EVP_MAC_CTX_set_params(context, parameters);
}
static inline int weft_ssl_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}
// What OpenSSL says of an alert that was received; NULL for an unknown one.
static inline const char *weft_alert_reason(int alert) {
    return ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + alert));
}
static inline const char *weft_ssl_version(const SSL *ssl) { return SSL_get_version(ssl); }

static const unsigned long weft_name_rfc2253 = XN_FLAG_RFC2253;
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
// The value of an otherName when it is text of some kind, else NULL.
static inline const ASN1_STRING *weft_general_name_other(const GENERAL_NAME *name, const ASN1_OBJECT **type) {
    *type = name->d.otherName->type_id;
    const ASN1_TYPE *value = name->d.otherName->value;
    switch (value->type) {
    case V_ASN1_UTF8STRING: case V_ASN1_PRINTABLESTRING: case V_ASN1_IA5STRING: case V_ASN1_T61STRING:
    case V_ASN1_VISIBLESTRING: case V_ASN1_GENERALSTRING: case V_ASN1_NUMERICSTRING: case V_ASN1_UNIVERSALSTRING:
    case V_ASN1_BMPSTRING: case V_ASN1_OCTET_STRING:
        return value->value.asn1_string;
    default: return NULL;
    }
}
static inline int weft_stack_push_x509(STACK_OF(X509) *stack, X509 *cert) { return sk_X509_push(stack, cert); }
static inline STACK_OF(X509) *weft_stack_new_x509(void) { return sk_X509_new_null(); }
static inline void weft_stack_free_all_x509(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }
static inline void weft_stack_free_x509(STACK_OF(X509) *stack) { sk_X509_free(stack); }
static inline STACK_OF(X509_EXTENSION) *weft_stack_new_extensions(void) { return sk_X509_EXTENSION_new_null(); }
static inline int weft_stack_push_extension(STACK_OF(X509_EXTENSION) *stack, X509_EXTENSION *extension) {
    return sk_X509_EXTENSION_push(stack, extension);
}
static inline void weft_stack_free_extensions(STACK_OF(X509_EXTENSION) *stack) {
    sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}

// HMAC of one piece over the digests' own functions. EVP's allocate contexts and look the digest up for every call, which
// costs more than the digest does.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
#define WEFT_HMAC(name, hash, context, block, size)                                                                  \
    static inline void name(const void *key, size_t key_count, const void *bytes, size_t count, unsigned char *mac) { \
        unsigned char pad[block] = {0}, inner[size];                                                                 \
        context state;                                                                                               \
        if (key_count > block) {                                                                                     \
            hash##_Init(&state), hash##_Update(&state, key, key_count), hash##_Final(pad, &state);                   \
        } else if (key_count > 0) {                                                                                  \
            memcpy(pad, key, key_count);                                                                             \
        }                                                                                                            \
        for (size_t i = 0; i < block; i++) pad[i] ^= 0x36;                                                           \
        hash##_Init(&state), hash##_Update(&state, pad, block), hash##_Update(&state, bytes, count);                 \
        hash##_Final(inner, &state);                                                                                 \
        for (size_t i = 0; i < block; i++) pad[i] ^= 0x36 ^ 0x5c;                                                    \
        hash##_Init(&state), hash##_Update(&state, pad, block), hash##_Update(&state, inner, size);                  \
        hash##_Final(mac, &state);                                                                                   \
        OPENSSL_cleanse(pad, block), OPENSSL_cleanse(inner, size), OPENSSL_cleanse(&state, sizeof state);            \
    }
WEFT_HMAC(weft_hmac_sha256, SHA256, SHA256_CTX, SHA256_CBLOCK, SHA256_DIGEST_LENGTH)
WEFT_HMAC(weft_hmac_sha384, SHA384, SHA512_CTX, SHA512_CBLOCK, SHA384_DIGEST_LENGTH)
#pragma clang diagnostic pop
