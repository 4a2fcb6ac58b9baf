import HTTP

/// What a client hears that broke HTTP/1: Envoy's status and its word for it.
struct ProtocolErrorAnswer {
    let status: Int
    let details: StaticString

    init(_ violation: HTTP1Violation) {
        switch violation.kind {
        case .lengthAndCoding: (status, details) = (400, "http1.content_length_and_chunked_not_allowed")
        case .transferCoding: (status, details) = (501, "http1.invalid_transfer_encoding")
        case .control: (status, details) = (400, "http1.invalid_characters")
        case .authority: (status, details) = (400, "http.invalid_authority")
        case .scheme: (status, details) = (400, "http1.invalid_scheme")
        case .version: (status, details) = (426, "low_version")
        case .tooLong: (status, details) = (431, "http1.headers_too_large")
        case .tooManyFields: (status, details) = (431, "http1.too_many_headers")
        case .noHost: (status, details) = (400, "missing_host_header")
        case .malformed, .expectation: (status, details) = (violation.status == 417 ? 417 : 400, "http1.codec_error")
        }
    }
}
