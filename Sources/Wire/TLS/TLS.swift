// TLS sessions, certificates, keys and signatures over OpenSSL. The only room that sees libssl.
