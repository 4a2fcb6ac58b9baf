// Inspect: what a connection's first bytes say of it, before a chain is chosen. Looks at bytes that stay in the socket or the
// read buffer; takes none of them but a PROXY header. No I/O, no choice of chains.

import Bytes

/// Looks for a ClientHello at the beginning of a connection (`envoy.filters.listener.tls_inspector`). One a connection;
/// plain value of a few words.
///
/// Every call is given *all* bytes from the connection's beginning (they are peeked, not taken). What was looked at before is
/// only walked over by records, so that a hello that comes in many small pieces costs its length, not its square.
public struct ClientHelloInspector {
    public enum Verdict: Sendable {
        /// Too little has come. Peek at up to this many bytes, when more than before have come.
        case needsMore(peek: Int)
        /// The bytes are something else than TLS. Envoy: `tls_not_found`.
        case notTLS
        /// The bytes claim to be TLS, but no ClientHello comes of them. Envoy counts it as `tls_not_found` too, and
        /// closes the connection where `close_connection_on_client_hello_parsing_errors` is set.
        case malformed
        /// The hello is longer than the listener allows: the connection is closed. Envoy: `client_hello_too_large`.
        case tooLarge
        /// Envoy: `tls_found`, with `sni_found` and `alpn_found` as it has them.
        case found(ClientHello)
    }

    public struct Fingerprints: OptionSet, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let ja3 = Fingerprints(rawValue: 1)
        public static let ja4 = Fingerprints(rawValue: 2)
    }

    public struct Limits: Sendable {
        /// Bytes to peek at first; doubled each time they are full, up to the largest hello. `initial_read_buffer_size`.
        public var initialPeek: Int
        /// Largest hello with its record headers, in bytes. `max_client_hello_size`; at most 16 KiB.
        public var largestHello: Int

        public static let defaultLargestHello = 16 << 10

        /// Values outside of 1 … 16384 are moved to its ends, as Envoy does.
        public init(initialPeek: Int? = nil, largestHello: Int = defaultLargestHello) {
            self.largestHello = min(max(largestHello, 1), Self.defaultLargestHello)
            self.initialPeek = min(max(initialPeek ?? self.largestHello, 1), self.largestHello)
        }
    }

    private let limits: Limits
    private let fingerprints: Fingerprints
    private var peek: Int
    /// Where the first record begins that was not seen whole.
    private var recordStart = 0
    /// Bytes of the handshake message in the records before it.
    private var gathered = 0
    /// Type, length and body, once the first four bytes are known.
    private var messageLength: Int?

    public init(_ limits: Limits = Limits(), fingerprints: Fingerprints = []) {
        self.limits = limits
        self.fingerprints = fingerprints
        peek = limits.initialPeek
    }

    /// Bytes to peek at before the first call.
    public var firstPeek: Int { peek }

    /// Looks at all bytes from the connection's beginning; never at fewer than in the call before.
    public mutating func inspect(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        while true {
            let left = bytes.count - recordStart
            guard left >= 1 else { return more(bytes.count) }
            let header = recordStart
            // RFC 8446 §5.1. Anything but a handshake record, and that with bytes in it, is no beginning of TLS.
            guard bytes[header] == 22 else { return gathered == 0 ? .notTLS : .malformed }
            guard left >= 2 else { return more(bytes.count) }
            guard bytes[header + 1] == 3 else { return gathered == 0 ? .notTLS : .malformed }
            guard left >= 5 else { return more(bytes.count) }
            let length = Int(bytes[header + 3]) << 8 | Int(bytes[header + 4])
            guard length > 0, length <= 16 << 10 else { return .malformed }
            let present = min(length, left - 5)
            if messageLength == nil, gathered + present >= 4 {
                guard let message = readMessageLength(bytes) else { return .malformed }
                messageLength = message
            } else if messageLength == nil, gathered == 0, present >= 1, bytes[header + 5] != 1 {
                return .malformed
            }
            if let messageLength, gathered + present >= messageLength { return read(bytes, messageLength) }
            // What is known to come is known to be too much before it comes.
            if let messageLength, recordStart + 5 + messageLength - gathered > limits.largestHello { return .tooLarge }
            guard present == length else { return more(bytes.count) }
            gathered += length
            recordStart += 5 + length
        }
    }

    private mutating func more(_ count: Int) -> Verdict {
        guard count < limits.largestHello else { return .tooLarge }
        while peek <= count { peek = min(peek * 2, limits.largestHello) }
        return .needsMore(peek: peek)
    }

    /// Type and length may be cut by record boundaries.
    private func readMessageLength(_ bytes: UnsafeRawBufferPointer) -> Int? {
        withUnsafeTemporaryAllocation(byteCount: 4, alignment: 1) { header in
            guard Self.copyMessage(bytes, into: header), header[0] == 1 else { return nil }
            return 4 + (Int(header[1]) << 16 | Int(header[2]) << 8 | Int(header[3]))
        }
    }

    private func read(_ bytes: UnsafeRawBufferPointer, _ length: Int) -> Verdict {
        guard recordStart + 5 + length - gathered <= limits.largestHello else { return .tooLarge }
        if gathered == 0 { return verdict(UnsafeRawBufferPointer(rebasing: bytes[9..<(5 + length)])) }
        return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { message in
            guard Self.copyMessage(bytes, into: message) else { return .malformed }
            return verdict(UnsafeRawBufferPointer(rebasing: message[4...]))
        }
    }

    private func verdict(_ body: UnsafeRawBufferPointer) -> Verdict {
        ClientHello(body, fingerprints: fingerprints).map { .found($0) } ?? .malformed
    }

    /// The first bytes of the handshake message, out of as many records as it takes.
    private static func copyMessage(_ bytes: UnsafeRawBufferPointer, into message: UnsafeMutableRawBufferPointer)
        -> Bool
    {
        var cursor = ByteCursor(bytes)
        var filled = 0
        while filled < message.count {
            guard cursor.skip(3), let length = cursor.readUInt16(),
                let piece = cursor.readBytes(min(Int(length), cursor.remaining, message.count - filled)), !piece.isEmpty
            else { return false }
            UnsafeMutableRawBufferPointer(rebasing: message[filled...]).copyMemory(from: piece)
            filled += piece.count
        }
        return true
    }
}
