import Bytes
import Glibc

/// Looks for HTTP at the beginning of a connection that is not TLS (`envoy.filters.listener.http_inspector`): the HTTP/2
/// preface, or a request line of HTTP/1. One a connection; each call is given all bytes from the beginning.
public struct HTTPInspector {
    public enum Verdict: Hashable, Sendable {
        case needsMore
        /// Envoy: `http_not_found`.
        case notHTTP
        case found(Version)
    }

    public enum Version: Hashable, Sendable {
        case http10, http11, http2

        /// The application protocol that chains match, in ALPN's wire form.
        public var applicationProtocol: ProtocolNames {
            switch self {
            case .http10: ProtocolNames(wire: "\u{08}http/1.0")
            case .http11: ProtocolNames(wire: "\u{08}http/1.1")
            case .http2: ProtocolNames(wire: "\u{03}h2c")
            }
        }
    }

    /// Longest request line that is waited for, in bytes; one that is longer is not HTTP.
    public static let longestLine = 64 << 10

    /// Bytes that hold no end of line.
    private var scanned = 0

    public init() {}

    public mutating func inspect(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        let preface = Self.preface.prefix(bytes.count)
        if bytes.prefix(preface.count).elementsEqual(preface) {
            return bytes.count >= Self.preface.count ? .found(.http2) : .needsMore
        }
        // Most of what is not HTTP is told from its first byte; a method is short, so looking again costs nothing.
        guard Self.mayBeginRequest(bytes) else { return .notHTTP }
        guard let base = bytes.baseAddress, let end = memchr(base + scanned, 10, bytes.count - scanned) else {
            scanned = bytes.count
            return bytes.count < Self.longestLine ? .needsMore : .notHTTP
        }
        let line = UnsafeRawBufferPointer(start: base, count: UnsafeRawPointer(end) - base)
        guard line.count < Self.longestLine else { return .notHTTP }
        return Self.version(ofRequestLine: line).map { .found($0) } ?? .notHTTP
    }

    /// `line` without its LF.
    private static func version(ofRequestLine line: UnsafeRawBufferPointer) -> Version? {
        var line = line
        if line.last == UInt8(ascii: "\r") { line = UnsafeRawBufferPointer(rebasing: line.dropLast()) }
        guard let space = line.firstIndex(of: UInt8(ascii: " ")), line.count >= space + 11 else { return nil }
        let tail = line.count - 9
        let target = line[(space + 1)..<tail]
        guard !target.isEmpty, target.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        if line[tail...].elementsEqual(" HTTP/1.1".utf8) { return .http11 }
        return line[tail...].elementsEqual(" HTTP/1.0".utf8) ? .http10 : nil
    }

    /// A method of token characters (RFC 9110 §5.6.2), and as long as methods are.
    private static func mayBeginRequest(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for (index, byte) in bytes.prefix(longestMethod + 1).enumerated() {
            if byte == UInt8(ascii: " ") { return index > 0 }
            guard isToken(byte) else { return false }
        }
        return bytes.count <= longestMethod
    }

    private static let longestMethod = 32

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
}
