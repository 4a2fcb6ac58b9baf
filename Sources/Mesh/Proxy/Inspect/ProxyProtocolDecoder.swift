import Bytes

/// Reads the PROXY header at the beginning of a connection (`envoy.filters.listener.proxy_protocol`). Each call is given all
/// bytes from the beginning; the header's bytes are the caller's to take once it is found.
public struct ProxyProtocolDecoder: Sendable {
    public enum Verdict: Hashable, Sendable {
        case needsMore
        /// The connection begins with something else, and that is allowed.
        case absent
        case found(ProxyProtocolHeader, length: Int)
        /// The connection is to be closed. Envoy: `downstream_cx_proxy_proto_error`; of a version that is not allowed:
        /// `versions.vN.disallowed`.
        case refused(Refusal)
    }

    public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        /// nil when the bytes are of neither version.
        public var version: ProxyProtocolHeader.Version?
        public var isDisallowedVersion = false
        /// What is wrong with the header.
        public var reason: String

        public var description: String {
            switch version {
            case .v1: "PROXY header, version 1: \(reason)"
            case .v2: "PROXY header, version 2: \(reason)"
            case nil: "PROXY header: \(reason)"
            }
        }
    }

    /// `allow_requests_without_proxy_protocol`.
    public var allowsAbsence: Bool
    /// `disallowed_versions`.
    public var disallowed: Set<ProxyProtocolHeader.Version>

    public init(allowsAbsence: Bool = false, disallowed: Set<ProxyProtocolHeader.Version> = []) {
        self.allowsAbsence = allowsAbsence
        self.disallowed = disallowed
    }

    /// Longest line of version 1 with its line end, in bytes (proxy-protocol.txt §2.1).
    public static let longestLine = 107
    /// Longest header of version 2, in bytes: what its length can say. To peek at so many is enough for any header.
    public static let longestHeader = 16 + 0xffff

    public func decode(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if Self.agree(bytes, ProxyProtocolHeader.signature) {
            guard bytes.count >= 16 else { return .needsMore }
            guard !disallowed.contains(.v2) else { return .refused(disallowedVersion(.v2)) }
            return decodeV2(bytes)
        }
        if Self.agree(bytes, ProxyProtocolHeader.prefixV1) {
            guard bytes.count > ProxyProtocolHeader.prefixV1.count else { return .needsMore }
            // "PROXYING" is no header but may be a request.
            if bytes[ProxyProtocolHeader.prefixV1.count] == UInt8(ascii: " ") {
                guard !disallowed.contains(.v1) else { return .refused(disallowedVersion(.v1)) }
                return decodeV1(bytes)
            }
        }
        return allowsAbsence
            ? .absent : .refused(Refusal(reason: "the connection begins with neither version's signature"))
    }

    private func disallowedVersion(_ version: ProxyProtocolHeader.Version) -> Refusal {
        Refusal(version: version, isDisallowedVersion: true, reason: "this listener does not allow it")
    }

    /// Whether as much as there is of both is equal.
    private static func agree(_ bytes: UnsafeRawBufferPointer, _ signature: [UInt8]) -> Bool {
        zip(bytes, signature).allSatisfy { $0 == $1 }
    }

    // MARK: Version 1

    private func decodeV1(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        let window = bytes.prefix(Self.longestLine)
        guard let end = window.firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count < Self.longestLine
                ? .needsMore : Self.refused(.v1, "no line end within \(Self.longestLine) bytes")
        }
        guard end > 0, bytes[end - 1] == UInt8(ascii: "\r") else { return Self.refused(.v1, "LF without CR") }
        let words = UnsafeRawBufferPointer(rebasing: bytes[6..<(end - 1)])
            .split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard let family = words.first else { return Self.refused(.v1, "no protocol") }
        if family.elementsEqual("UNKNOWN".utf8) {
            return .found(ProxyProtocolHeader(.v1, source: nil, destination: nil), length: end + 1)
        }
        let wanted: IPAddress.Family
        if family.elementsEqual("TCP4".utf8) {
            wanted = .v4
        } else if family.elementsEqual("TCP6".utf8) {
            wanted = .v6
        } else {
            return Self.refused(.v1, "the protocol is not TCP4, TCP6 or UNKNOWN")
        }
        guard words.count == 5 else { return Self.refused(.v1, "\(words.count) words instead of 5") }
        guard let source = IPAddress(utf8: UnsafeRawBufferPointer(rebasing: words[1])), source.family == wanted,
            let destination = IPAddress(utf8: UnsafeRawBufferPointer(rebasing: words[2])), destination.family == wanted
        else { return Self.refused(.v1, "an address is not one of its protocol's") }
        guard let from = Port(String(decoding: words[3], as: UTF8.self)),
            let to = Port(String(decoding: words[4], as: UTF8.self))
        else { return Self.refused(.v1, "a port is not a number up to 65535") }
        return .found(
            ProxyProtocolHeader(.v1, source: .ip(source, from), destination: .ip(destination, to)), length: end + 1)
    }

    // MARK: Version 2

    private func decodeV2(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        guard bytes[12] >> 4 == 2 else { return Self.refused(.v2, "its version field says \(bytes[12] >> 4)") }
        let command = bytes[12] & 15
        guard command <= 1 else { return Self.refused(.v2, "unknown command \(command)") }
        let (family, transport) = (bytes[13] >> 4, bytes[13] & 15)
        guard family <= 3, transport <= 2 else {
            return Self.refused(.v2, "unknown address family \(family) or transport \(transport)")
        }
        let length = 16 + (Int(bytes[14]) << 8 | Int(bytes[15]))
        let addressLength = command == 0 ? 0 : Self.addressLength(family)
        guard command == 0 || length >= 16 + addressLength else {
            return Self.refused(.v2, "\(length - 16) bytes are too few for its addresses")
        }
        // Envoy and HAProxy serve streams only.
        guard command == 0 || family == 0 || transport == 1 else { return Self.refused(.v2, "not a stream") }
        guard bytes.count >= length else { return .needsMore }
        let header = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        // What a local header carries is skipped, whatever it is.
        guard command == 1 else {
            return .found(ProxyProtocolHeader(.v2, source: nil, destination: nil), length: length)
        }
        do throws(Refusal) {
            var result = ProxyProtocolHeader(
                .v2, source: Self.address(header, family, isSource: true),
                destination: Self.address(header, family, isSource: false))
            result.values = try Self.values(header, from: 16 + addressLength)
            return .found(result, length: length)
        } catch {
            return .refused(error)
        }
    }

    private static func addressLength(_ family: UInt8) -> Int {
        switch family {
        case 1: 12
        case 2: 36
        case 3: 216
        default: 0
        }
    }

    private static func address(_ header: UnsafeRawBufferPointer, _ family: UInt8, isSource: Bool) -> SocketAddress? {
        func bytes(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: header[(16 + start)..<(16 + start + count)])
        }
        func port(_ start: Int) -> Port { Port(UInt16(bigEndian: bytes(start, 2).loadUnaligned(as: UInt16.self))) }
        switch family {
        case 1: return IPAddress(bytes: bytes(isSource ? 0 : 4, 4)).map { .ip($0, port(isSource ? 8 : 10)) }
        case 2: return IPAddress(bytes: bytes(isSource ? 0 : 16, 16)).map { .ip($0, port(isSource ? 32 : 34)) }
        case 3:
            let path = bytes(isSource ? 0 : 108, 108)
            if path[0] == 0, path.contains(where: { $0 != 0 }) {
                let name = path.dropFirst().prefix { $0 != 0 }
                return .abstract(name: String(decoding: name, as: UTF8.self))
            }
            return .unix(path: String(decoding: path.prefix { $0 != 0 }, as: UTF8.self))
        default: return nil
        }
    }

    private static func values(
        _ header: UnsafeRawBufferPointer, from start: Int
    ) throws(Refusal) -> [ProxyProtocolHeader.TypeLengthValue] {
        var values: [ProxyProtocolHeader.TypeLengthValue] = []
        var cursor = ByteCursor(header)
        guard cursor.seek(to: start) else { return [] }
        while !cursor.isAtEnd {
            guard let type = cursor.readUInt8(), let value = cursor.readVector16() else {
                throw Refusal(version: .v2, reason: "a type-length-value reaches over the header's end")
            }
            switch type {
            case ProxyProtocolHeader.paddingType: continue
            case ProxyProtocolHeader.checksumType:
                guard value.count == 4, checksum(header, at: cursor.position - 4) == value.elements32 else {
                    throw Refusal(version: .v2, reason: "its checksum is wrong")
                }
            default: values.append(.init(type: type, value: Array(value)))
            }
        }
        return values
    }

    /// Of the whole header with the checksum's own bytes as zeros.
    static func checksum(_ header: UnsafeRawBufferPointer, at position: Int) -> UInt32 {
        var sum = CRC32C()
        sum.combine(header[..<position])
        sum.combine(repeatElement(0, count: 4))
        sum.combine(header[(position + 4)...])
        return sum.value
    }

    private static func refused(_ version: ProxyProtocolHeader.Version, _ reason: String) -> Verdict {
        .refused(Refusal(version: version, reason: reason))
    }
}

extension UnsafeRawBufferPointer {
    fileprivate var elements32: UInt32 { UInt32(bigEndian: loadUnaligned(as: UInt32.self)) }
}
