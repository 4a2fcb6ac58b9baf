import Bytes

/// What a client holds of its control plane, as it is written down: the next run of the same proxy goes on from it and says its
/// versions. Secrets are no part of it, nor is what has a lifetime.
public struct DiscoveryMemory: Sendable {
    /// Bytes; a state that is larger is not written.
    public static let limit = 16 << 20
    private static let magic = "weft-proxy state 1\n"

    struct Entry: Sendable {
        var resource: Resource
        /// It was asked for by its name, beside all others of its kind.
        var isNamed: Bool
    }

    private(set) var entries: [Entry] = []
    /// Why some of what was written is of no use.
    public private(set) var problems: [String] = []

    init(_ entries: [Entry]) { self.entries = entries }

    public var isEmpty: Bool { entries.isEmpty }

    /// Names of a kind that were asked for by name.
    public func named(_ kind: ResourceKind) -> [String] {
        entries.filter { $0.resource.kind == kind && $0.isNamed }.map(\.resource.name)
    }

    /// - Parameter owner: whose it is: nobody else goes on from it.
    /// - Returns: nil when it is larger than `limit`.
    public func encoded(_ owner: String) -> [UInt8]? {
        var writer = ByteWriter()
        func put(_ bytes: some Collection<UInt8>) {
            writer.append(UInt32(bytes.count))
            writer.append(Array(bytes))
        }
        put(owner.utf8)
        for entry in entries {
            let resource = entry.resource
            guard writer.bytes.count + resource.bytes.count < Self.limit else { return nil }
            put(resource.kind.rawValue.utf8)
            writer.append(UInt8(entry.isNamed ? 1 : 0))
            put(resource.version.utf8)
            put(resource.bytes)
        }
        var whole = ByteWriter()
        whole.append(utf8: Self.magic)
        whole.append(writer.bytes.withUnsafeBytes { XXHash64.hash($0) })
        whole.append(writer.bytes)
        return whole.bytes
    }

    /// - Throws: It is not whole, or another's.
    public init(_ bytes: [UInt8], owner: String) throws(ConfigError) {
        let found = bytes.withUnsafeBytes { Self.parse($0) }
        guard let found else { throw ConfigError(ConfigPath([]), "is no whole state of a proxy") }
        guard found.owner == owner else {
            throw ConfigError(ConfigPath([]), "is the state of \"\(found.owner)\", not of \"\(owner)\"")
        }
        let text = ConfigText(name: "state")
        for one in found.entries {
            guard let kind = ResourceKind(rawValue: one.kind) else { continue }
            let packed = PackedMessage(typeURL: "type.googleapis.com/\(one.kind)", .bytes(one.bytes))
            do throws(ConfigError) {
                let resource = try Resource(kind, packed, version: one.version, from: text, at: ConfigPath([]))
                entries.append(Entry(resource: resource, isNamed: one.isNamed))
            } catch { problems.append(error.description) }
        }
    }

    private struct Encoded {
        var kind: String
        var isNamed: Bool
        var version: String
        var bytes: [UInt8]
    }

    private static func parse(_ bytes: UnsafeRawBufferPointer) -> (owner: String, entries: [Encoded])? {
        var cursor = ByteCursor(bytes)
        guard let start = cursor.readBytes(magic.utf8.count), start.elementsEqual(magic.utf8),
            let hash = cursor.readUInt64(), hash == XXHash64.hash(cursor.rest)
        else { return nil }
        func piece() -> UnsafeRawBufferPointer? { cursor.readUInt32().flatMap { cursor.readBytes(Int($0)) } }
        guard let owner = piece() else { return nil }
        var entries: [Encoded] = []
        while !cursor.isAtEnd {
            guard let kind = piece(), let isNamed = cursor.readUInt8(), let version = piece(), let contents = piece()
            else { return nil }
            entries.append(
                Encoded(
                    kind: String(decoding: kind, as: UTF8.self), isNamed: isNamed == 1,
                    version: String(decoding: version, as: UTF8.self), bytes: Array(contents)))
        }
        return (String(decoding: owner, as: UTF8.self), entries)
    }
}
