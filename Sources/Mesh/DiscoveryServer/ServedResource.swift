import GRPC
import Protobuf
import XDS

/// A resource as it goes out: encoded once, and shared by all that get it, in both of the forms that streams want. Immutable.
final class ServedResource: Sendable {
    let kind: ResourceKind
    let name: String
    /// From the bytes alone, so a proxy that comes back to a restarted control plane still has the version that it had.
    let fingerprint: UInt64
    /// Field 2 of `DeltaDiscoveryResponse`, with its tag: the resource in an `Any`, in a `Resource` with name and version.
    let deltaField: [UInt8]
    /// Where in it the `Any` is.
    private let packed: (start: Int32, count: Int32)

    /// Of a cluster whose endpoints come by name: that name. A proxy cannot use it before it has them.
    let endpoints: String?

    var version: String { Self.version(fingerprint) }

    /// - Parameters:
    ///   - message: The resource, of the kind's own type.
    ///   - fingerprint: The message's hash, for who has it.
    init(_ kind: ResourceKind, _ name: String, _ message: [UInt8], fingerprint: UInt64? = nil) {
        self.kind = kind
        self.name = name
        self.fingerprint = fingerprint ?? Self.hash(message)
        endpoints = kind == .cluster ? Self.endpoints(ofCluster: message) : nil
        var any = ReverseBuffer(capacity: message.count + 96)
        any.prepend(message)
        any.close(field: 2, since: 0)
        any.prepend(field: 1, text: kind.typeURL)
        var resource = ReverseBuffer(capacity: any.count + name.utf8.count + 48)
        // google.protobuf.Any is field 2 of Resource, the name 3, the version 1.
        resource.prepend(field: 3, text: name)
        let mark = resource.count
        any.withBytes { resource.prepend($0) }
        let end = resource.count
        resource.close(field: 2, since: mark)
        resource.prepend(field: 1, text: Self.version(self.fingerprint))
        resource.close(field: 2, since: 0)
        packed = (Int32(resource.count - end), Int32(any.count))
        deltaField = resource.bytes
    }

    /// The resource in an `Any`.
    var any: ArraySlice<UInt8> { deltaField[Int(packed.start)...].prefix(Int(packed.count)) }

    /// Field 2 of `DiscoveryResponse`, with its tag: the resource in an `Any`.
    func appendState(to body: inout [UInt8]) { body.append(field: 2, any) }

    /// From the fields of `envoy.config.cluster.v3.Cluster`; nil also for what is none.
    private static func endpoints(ofCluster message: [UInt8]) -> String? {
        var (name, service, isNamed) = ("", "", false)
        do throws(GRPCEnding) {
            try message.forEachField { field throws(GRPCEnding) in
                switch (field.number, field.wire) {
                case (1, .bytes): name = field.text
                // EDS
                case (2, .varint): isNamed = field.scalar == 3
                case (3, .bytes):
                    try Array(field.bytes).forEachField { field throws(GRPCEnding) in
                        if field.number == 2, field.wire == .bytes { service = field.text }
                    }
                default: break
                }
            }
        } catch { return nil }
        return isNamed ? service.isEmpty ? name : service : nil
    }

    static func version(_ fingerprint: UInt64) -> String { String(fingerprint, radix: 16) }

    /// FNV-1a; the bytes are our own, so nobody gains by making two of them alike.
    static func hash(_ bytes: some Sequence<UInt8>, from seed: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
        var hash = seed
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return hash
    }
}
