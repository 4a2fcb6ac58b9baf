/// A header name as a small integer, so that nothing compares text after parsing. Case is not part of it.
///
/// `.other` stands for every name not listed here; its text is in the field.
public enum HeaderName: UInt8, Hashable, Sendable, CaseIterable {
    case other = 0
    case accept, acceptCharset, acceptEncoding, acceptLanguage, acceptRanges, age, allow, authorization, cacheControl
    case connection, contentDisposition, contentEncoding, contentLanguage, contentLength, contentLocation, contentRange
    case contentType, cookie, date, etag, expect, expires, from, grpcEncoding, grpcMessage, grpcStatus, grpcTimeout,
        host
    case http2Settings, ifMatch, ifModifiedSince, ifNoneMatch, ifRange, ifUnmodifiedSince, keepAlive, lastModified, link
    case location, maxForwards, origin, pragma, proxyAuthenticate, proxyAuthorization, proxyConnection, range, referer
    case retryAfter, secWebSocketAccept, secWebSocketExtensions, secWebSocketKey, secWebSocketProtocol
    case secWebSocketVersion, server, setCookie, strictTransportSecurity, te, trailer, transferEncoding, upgrade
    case userAgent, vary, via, warning, wwwAuthenticate, impersonateUser, impersonateGroup, impersonateUID, auditID
    case xForwardedFor, xForwardedHost, xForwardedProto, xForwardedClientCert, xRequestID, xRemoteUser, xRemoteGroup
    case xEnvoyUpstreamServiceTime, xEnvoyExternalAddress, xEnvoyDecoratorOperation, xB3TraceID, xB3SpanID
    case xB3Sampled, traceparent, tracestate, xContentTypeOptions, xStreamProtocolVersion

    /// The name in lower case, as HTTP/2 writes it. Empty for `.other`.
    public var text: StaticString {
        switch self {
        case .other: ""
        case .accept: "accept"
        case .acceptCharset: "accept-charset"
        case .acceptEncoding: "accept-encoding"
        case .acceptLanguage: "accept-language"
        case .acceptRanges: "accept-ranges"
        case .age: "age"
        case .allow: "allow"
        case .authorization: "authorization"
        case .cacheControl: "cache-control"
        case .connection: "connection"
        case .contentDisposition: "content-disposition"
        case .contentEncoding: "content-encoding"
        case .contentLanguage: "content-language"
        case .contentLength: "content-length"
        case .contentLocation: "content-location"
        case .contentRange: "content-range"
        case .contentType: "content-type"
        case .cookie: "cookie"
        case .date: "date"
        case .etag: "etag"
        case .expect: "expect"
        case .expires: "expires"
        case .from: "from"
        case .grpcEncoding: "grpc-encoding"
        case .grpcMessage: "grpc-message"
        case .grpcStatus: "grpc-status"
        case .grpcTimeout: "grpc-timeout"
        case .host: "host"
        case .http2Settings: "http2-settings"
        case .ifMatch: "if-match"
        case .ifModifiedSince: "if-modified-since"
        case .ifNoneMatch: "if-none-match"
        case .ifRange: "if-range"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .keepAlive: "keep-alive"
        case .lastModified: "last-modified"
        case .link: "link"
        case .location: "location"
        case .maxForwards: "max-forwards"
        case .origin: "origin"
        case .pragma: "pragma"
        case .proxyAuthenticate: "proxy-authenticate"
        case .proxyAuthorization: "proxy-authorization"
        case .proxyConnection: "proxy-connection"
        case .range: "range"
        case .referer: "referer"
        case .retryAfter: "retry-after"
        case .secWebSocketAccept: "sec-websocket-accept"
        case .secWebSocketExtensions: "sec-websocket-extensions"
        case .secWebSocketKey: "sec-websocket-key"
        case .secWebSocketProtocol: "sec-websocket-protocol"
        case .secWebSocketVersion: "sec-websocket-version"
        case .server: "server"
        case .setCookie: "set-cookie"
        case .strictTransportSecurity: "strict-transport-security"
        case .te: "te"
        case .trailer: "trailer"
        case .transferEncoding: "transfer-encoding"
        case .upgrade: "upgrade"
        case .userAgent: "user-agent"
        case .vary: "vary"
        case .via: "via"
        case .warning: "warning"
        case .wwwAuthenticate: "www-authenticate"
        case .impersonateUser: "impersonate-user"
        case .impersonateGroup: "impersonate-group"
        case .impersonateUID: "impersonate-uid"
        case .auditID: "audit-id"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedHost: "x-forwarded-host"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedClientCert: "x-forwarded-client-cert"
        case .xRequestID: "x-request-id"
        case .xRemoteUser: "x-remote-user"
        case .xRemoteGroup: "x-remote-group"
        case .xEnvoyUpstreamServiceTime: "x-envoy-upstream-service-time"
        case .xEnvoyExternalAddress: "x-envoy-external-address"
        case .xEnvoyDecoratorOperation: "x-envoy-decorator-operation"
        case .xB3TraceID: "x-b3-traceid"
        case .xB3SpanID: "x-b3-spanid"
        case .xB3Sampled: "x-b3-sampled"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .xContentTypeOptions: "x-content-type-options"
        case .xStreamProtocolVersion: "x-stream-protocol-version"
        }
    }

    /// The name that these bytes spell in any case, or `.other`.
    public init(_ bytes: UnsafeRawBufferPointer) { self = HeaderNameTable.shared.find(bytes) }
    public init(_ name: String) {
        var name = name
        self = name.withUTF8 { HeaderNameTable.shared.find(UnsafeRawBufferPointer($0)) }
    }
}

/// Finds header names by a hash of length, first, middle and last letter, then one comparison.
///
/// Immutable after it is built and never freed, so threads may share it.
struct HeaderNameTable: @unchecked Sendable {
    static let shared = HeaderNameTable()
    private static let slots = 512

    private struct Slot {
        var text: UnsafePointer<UInt8>
        var count: Int
        var name: HeaderName
    }
    private let table: UnsafeMutablePointer<Slot>
    private static let nothing: StaticString = ""

    private init() {
        table = .allocate(capacity: Self.slots)
        table.initialize(
            repeating: Slot(text: Self.nothing.utf8Start, count: 0, name: .other), count: Self.slots)
        for name in HeaderName.allCases where name != .other {
            let text = name.text
            let bytes = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
            var at = Self.hash(bytes)
            while table[at].count != 0 { at = (at + 1) & (Self.slots - 1) }
            table[at] = Slot(text: text.utf8Start, count: text.utf8CodeUnitCount, name: name)
        }
    }

    func find(_ bytes: UnsafeRawBufferPointer) -> HeaderName {
        guard !bytes.isEmpty else { return .other }
        var at = Self.hash(bytes)
        while case let slot = table[at], slot.count != 0 {
            if slot.count == bytes.count, equalsIgnoringCase(bytes, lowercased: slot.text) { return slot.name }
            at = (at &+ 1) & (Self.slots - 1)
        }
        return .other
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = bytes.count
        // `| 0x20` folds letters; what it does to other bytes does not matter, the comparison decides.
        let first = UInt32(bytes[0] | 0x20)
        let middle = UInt32(bytes[count / 2] | 0x20)
        let last = UInt32(bytes[count - 1] | 0x20)
        let mixed = (first &* 31 &+ middle) &* 37 &+ last &* 7 &+ UInt32(truncatingIfNeeded: count) &* 101
        return Int((mixed ^ (mixed >> 7)) & UInt32(slots - 1))
    }
}

/// Whether `bytes` equals text that is already in lower case and of the same length.
@inlinable
package func equalsIgnoringCase(_ bytes: UnsafeRawBufferPointer, lowercased text: UnsafePointer<UInt8>) -> Bool {
    for index in 0..<bytes.count where lowercase(bytes[index]) != text[index] { return false }
    return true
}

@inlinable
package func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
