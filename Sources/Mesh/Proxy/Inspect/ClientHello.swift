import Bytes
import TLS

/// What a ClientHello says that a listener chooses by (`tls_inspector`). Owns its few bytes.
public struct ClientHello: Sendable {
    /// The highest version that the client offers, e.g. 0x0304.
    public private(set) var version: UInt16 = 0
    /// JA3: MD5 in hex of version, ciphers, extensions, groups and point formats. nil unless asked for.
    public private(set) var ja3: String?
    /// JA4: see FoxIO's description of it. nil unless asked for.
    public private(set) var ja4: String?

    /// The server name in lower case, then the protocols in wire form.
    private var bytes: [UInt8] = []
    private var nameLength = 0

    /// The name asked for, in lower case; empty for none.
    public func withServerName<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<nameLength])) }
    }

    /// The protocols offered by ALPN, in the client's order.
    public func withApplicationProtocols<R>(_ body: (ProtocolNames) -> R) -> R {
        bytes.withUnsafeBytes { body(ProtocolNames(wire: UnsafeRawBufferPointer(rebasing: $0[nameLength...]))) }
    }

    public var hasServerName: Bool { nameLength > 0 }
    public var hasApplicationProtocols: Bool { bytes.count > nameLength }
    public var serverName: String { withServerName { String(decoding: $0, as: UTF8.self) } }
    public var applicationProtocols: [String] {
        withApplicationProtocols { names in names.map { String(decoding: $0, as: UTF8.self) } }
    }

    /// Reads the body of a ClientHello message (RFC 8446 §4.1.2); nil when it is malformed.
    init?(_ body: UnsafeRawBufferPointer, fingerprints: ClientHelloInspector.Fingerprints) {
        guard let parts = ClientHelloParts(body) else { return nil }
        bytes.reserveCapacity(parts.serverName.count + parts.protocols.count)
        for byte in parts.serverName { bytes.append(byte &- 65 < 26 ? byte | 0x20 : byte) }
        nameLength = parts.serverName.count
        bytes.append(contentsOf: parts.protocols)
        version = parts.highestVersion
        if fingerprints.contains(.ja3) { ja3 = parts.ja3 }
        if fingerprints.contains(.ja4) { ja4 = parts.ja4 }
    }
}

/// The parts of a ClientHello, as views of the message.
struct ClientHelloParts {
    private static var empty: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    let legacyVersion: UInt16
    let cipherSuites: UnsafeRawBufferPointer
    private(set) var extensions = empty
    private(set) var serverName = empty
    /// The list's entries, without its own length.
    private(set) var protocols = empty
    private(set) var supportedVersions = empty
    private(set) var groups = empty
    private(set) var pointFormats = empty
    private(set) var signatureAlgorithms = empty

    /// nil unless the message is well-formed to its last byte, as far as it is understood.
    init?(_ body: UnsafeRawBufferPointer) {
        var cursor = ByteCursor(body)
        guard let version = cursor.readUInt16(), cursor.skip(32),
            let session = cursor.readVector8(), session.count <= 32,
            let suites = cursor.readVector16(), suites.count >= 2, suites.count % 2 == 0,
            let compressions = cursor.readVector8(), !compressions.isEmpty
        else { return nil }
        legacyVersion = version
        cipherSuites = suites
        if cursor.isAtEnd { return }
        guard let extensions = cursor.readVector16(), cursor.isAtEnd else { return nil }
        self.extensions = extensions
        var seen: UInt64 = 0
        var rest = ByteCursor(extensions)
        while !rest.isAtEnd {
            guard let type = rest.readUInt16(), let data = rest.readVector16() else { return nil }
            if type < 64 {
                // RFC 8446 §4.2: no extension comes twice. All that are read here have small numbers.
                guard seen & 1 << UInt64(type) == 0 else { return nil }
                seen |= 1 << UInt64(type)
            }
            guard take(type, data) else { return nil }
        }
    }

    private mutating func take(_ type: UInt16, _ data: UnsafeRawBufferPointer) -> Bool {
        var cursor = ByteCursor(data)
        switch type {
        case 0:
            // RFC 6066 §3: one host name, the only kind of name there is.
            guard var list = cursor.readVector16().map(ByteCursor.init), cursor.isAtEnd, list.readUInt8() == 0,
                let name = list.readVector16(), list.isAtEnd, (1...255).contains(name.count), !name.contains(0)
            else { return false }
            serverName = name
        case 10:
            guard let list = cursor.readVector16(), cursor.isAtEnd, list.count % 2 == 0 else { return false }
            groups = list
        case 11:
            guard let list = cursor.readVector8(), cursor.isAtEnd else { return false }
            pointFormats = list
        case 13:
            guard let list = cursor.readVector16(), cursor.isAtEnd, list.count % 2 == 0 else { return false }
            signatureAlgorithms = list
        case 16:
            guard let list = cursor.readVector16(), cursor.isAtEnd, !list.isEmpty else { return false }
            var names = ByteCursor(list)
            while !names.isAtEnd {
                guard let name = names.readVector8(), !name.isEmpty else { return false }
            }
            protocols = list
        case 43:
            guard let list = cursor.readVector8(), cursor.isAtEnd, !list.isEmpty, list.count % 2 == 0 else {
                return false
            }
            supportedVersions = list
        default: break
        }
        return true
    }

    var highestVersion: UInt16 {
        var highest: UInt16 = 0
        var cursor = ByteCursor(supportedVersions)
        while let version = cursor.readUInt16() {
            if !isGREASE(version) { highest = max(highest, version) }
        }
        return highest == 0 ? legacyVersion : highest
    }

    /// The types of all extensions, in order.
    var extensionTypes: [UInt16] {
        var types: [UInt16] = []
        var cursor = ByteCursor(extensions)
        while let type = cursor.readUInt16(), cursor.readVector16() != nil { types.append(type) }
        return types
    }
}

/// RFC 8701: values that clients send so that nobody relies on knowing all.
func isGREASE(_ value: UInt16) -> Bool { value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff }

extension ByteCursor {
    mutating func readVector8() -> UnsafeRawBufferPointer? {
        guard let count = readUInt8() else { return nil }
        return readBytes(Int(count))
    }

    mutating func readVector16() -> UnsafeRawBufferPointer? {
        guard let count = readUInt16() else { return nil }
        return readBytes(Int(count))
    }
}
