import GRPC
import XDS

/// What a proxy says on a stream, of either form of the protocol.
struct ReceivedRequest: Hashable {
    var typeURL = ""
    var nonce = ""
    /// State of the world: the last version that was accepted.
    var version = ""
    /// Delta: what is asked for from now on.
    var names: [String] = []
    /// State of the world: of all that is asked for, which each answer repeats. Two thousand names that are the same as before are not
    /// looked up again, nor even made into strings: `names(in:)` does that for who finds them to be others.
    var namesHash = 0
    /// Delta: what is asked for no longer.
    var dropped: [String] = []
    /// Delta: what the proxy still has from an earlier stream.
    var held: [String: String] = [:]
    /// Why a response was refused, wholly or in part.
    var refusal: String?
    /// The bytes of the `Node`; the first request of a stream has it.
    var node: [UInt8]?

    init(_ form: DiscoveryForm, _ bytes: [UInt8]) throws(GRPCEnding) {
        let isDelta = form == .delta
        var request = ReceivedRequest()
        // Seeded by chance in each process, so nobody can make two lists that pass for one.
        var hasher = Hasher()
        try bytes.forEachField { field throws(GRPCEnding) in
            guard field.wire == .bytes else { return }
            switch (field.number, isDelta) {
            case (1, false): request.version = field.text
            case (2, false), (1, true): request.node = Array(field.bytes)
            case (3, false):
                hasher.combine(field.bytes.count)
                hasher.combine(bytes: field.bytes)
            case (3, true): request.names.append(field.text)
            case (4, false), (2, true): request.typeURL = field.text
            case (4, true): request.dropped.append(field.text)
            case (5, false), (6, true): request.nonce = field.text
            case (5, true): try request.readHeld(Array(field.bytes))
            case (6, false), (7, true): request.refusal = try Self.sentence(Array(field.bytes))
            default: break
            }
        }
        if !isDelta { request.namesHash = hasher.finalize() }
        self = request
    }

    private init() {}

    /// State of the world: all that a request asks for.
    static func names(in request: [UInt8]) throws(GRPCEnding) -> [String] {
        var names: [String] = []
        try request.forEachField { field throws(GRPCEnding) in
            if field.number == 3, field.wire == .bytes { names.append(field.text) }
        }
        return names
    }

    private mutating func readHeld(_ entry: [UInt8]) throws(GRPCEnding) {
        var (name, version) = ("", "")
        try entry.forEachField { field throws(GRPCEnding) in
            if field.number == 1 { name = field.text }
            if field.number == 2 { version = field.text }
        }
        held[name] = version
    }

    /// Of a `google.rpc.Status`.
    private static func sentence(_ status: [UInt8]) throws(GRPCEnding) -> String {
        var message = ""
        try status.forEachField { field throws(GRPCEnding) in if field.number == 2 { message = field.text } }
        return message
    }
}

/// Who is at the other end of a stream.
public struct ProxyNode: Hashable, Sendable {
    public private(set) var id = ""
    public private(set) var cluster = ""
    /// What kind of client it is, as it calls itself: `envoy`, `gRPC C-core`.
    public private(set) var userAgent = ""
    /// What it says that it can do.
    public private(set) var features: Set<String> = []
    /// The whole `envoy.config.core.v3.Node`, for those who want more of it.
    public let bytes: [UInt8]

    init(_ bytes: [UInt8]) throws(GRPCEnding) {
        self.bytes = bytes
        var (id, cluster, userAgent) = ("", "", "")
        var features: Set<String> = []
        try bytes.forEachField { field throws(GRPCEnding) in
            if field.number == 1 { id = field.text }
            if field.number == 2 { cluster = field.text }
            if field.number == 6 { userAgent = field.text }
            if field.number == 10 { features.insert(field.text) }
        }
        (self.id, self.cluster, self.userAgent, self.features) = (id, cluster, userAgent, features)
    }
}
