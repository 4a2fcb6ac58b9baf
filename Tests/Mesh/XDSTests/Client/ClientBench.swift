import Bytes
import JSON

@testable import XDS

/// A client and a server's hand: makes responses and reads requests.
struct ClientBench {
    var client: DiscoveryClient
    var now: UInt64 = 0
    var random = SplitMix64(seed: 1)
    private(set) var delivered: ResourceUpdate?
    private(set) var absent: [String] = []

    /// A request as a server sees it.
    struct Request: Equatable {
        var kind: ResourceKind
        var nonce: String
        var version: String
        var names: [String]
        var dropped: [String]
        var held: [String: String]
        var error = ""
        var hasNode = false

        init(
            _ kind: ResourceKind, nonce: String = "", version: String = "", names: [String] = [],
            dropped: [String] = [], held: [String: String] = [:]
        ) {
            self.kind = kind
            self.nonce = nonce
            self.version = version
            self.names = names
            self.dropped = dropped
            self.held = held
        }

        static func == (a: Request, b: Request) -> Bool {
            a.kind == b.kind && a.nonce == b.nonce && a.version == b.version && a.names == b.names
                && a.dropped == b.dropped && a.held == b.held && a.error == b.error
        }
    }

    init(_ form: DiscoveryForm) {
        client = DiscoveryClient(form, node: Self.node, namesItselfOnce: true)
    }

    static var node: Message {
        var node = Message(Message.type("envoy.config.core.v3.Node"))
        node.set("id", .string("me"))
        return node
    }

    mutating func open() {
        _ = client.advance(to: now)
        client.opened()
    }

    mutating func close() {
        client.closed(now: now, &random)
        now = client.deadline
    }

    mutating func want(_ kind: ResourceKind, _ names: String...) {
        for name in names { _ = client.subscribe(kind, name, fetchTime: 0, now: now) }
    }

    /// All that the client has to say.
    mutating func requests() throws -> [Request] {
        var found: [Request] = []
        while let bytes = client.nextRequest() {
            let isDelta = client.form == .delta
            let message = try Message(
                binary: bytes,
                type: Message.type(
                    "envoy.service.discovery.v3.\(isDelta ? "DeltaDiscoveryRequest" : "DiscoveryRequest")"))
            guard let kind = ResourceKind(typeURL: message.text("type_url")) else { continue }
            var request = Request(
                kind, nonce: message.text("response_nonce"), version: isDelta ? "" : message.text("version_info"),
                names: message.texts(isDelta ? "resource_names_subscribe" : "resource_names"),
                dropped: isDelta ? message.texts("resource_names_unsubscribe") : [])
            if isDelta, case .map(let entries)? = message.value("initial_resource_versions") {
                for case (.string(let name), .string(let version)) in entries.map({ ($0.key, $0.value) }) {
                    request.held[name] = version
                }
            }
            request.error = message.submessage("error_detail")?.text("message") ?? ""
            request.hasNode = message.submessage("node") != nil
            found.append(request)
        }
        return found
    }

    /// The bytes of a response.
    func response(
        _ kind: ResourceKind, _ version: String, _ nonce: String, _ resources: [(name: String, bytes: [UInt8]?)],
        removed: [String] = [], ttl: String? = nil
    ) -> [UInt8] {
        let isDelta = client.form == .delta
        var message = Message(
            Message.type("envoy.service.discovery.v3.\(isDelta ? "DeltaDiscoveryResponse" : "DiscoveryResponse")"))
        message.set(isDelta ? "system_version_info" : "version_info", .string(version))
        message.set("type_url", .string(kind.typeURL))
        message.set("nonce", .string(nonce))
        let elements = resources.map { name, bytes -> FieldValue in
            let packed = bytes.map { PackedMessage(typeURL: kind.typeURL, .bytes($0)) }
            guard isDelta || ttl != nil else { return packed.map { .any($0) } ?? .string("") }
            var wrapper = Message(Message.type("envoy.service.discovery.v3.Resource"))
            wrapper.set("name", .string(name))
            wrapper.set("version", .string(version))
            if let packed { wrapper.set("resource", .any(packed)) }
            if let ttl, let time = Duration(protobufJSON: ttl) { wrapper.set("ttl", .duration(time)) }
            if isDelta { return .message(wrapper) }
            return .any(
                PackedMessage(
                    typeURL: "type.googleapis.com/envoy.service.discovery.v3.Resource", .bytes(wrapper.binary())))
        }
        if !elements.isEmpty { message.set("resources", .list(elements)) }
        if isDelta { message.set("removed_resources", strings: removed) }
        return message.binary()
    }

    mutating func receive(
        _ kind: ResourceKind, _ version: String, _ nonce: String, _ resources: [Message]
    ) throws -> DiscoveryDelivery? {
        try client.received(response(kind, version, nonce, Self.named(kind, resources)))
    }

    /// A response, taken over but for what is refused.
    mutating func answer(
        _ kind: ResourceKind, _ version: String, _ nonce: String, _ resources: [Message] = [], raw: [[UInt8]] = [],
        removed: [String] = [], ttl: String? = nil, refusing refused: [ResourceRefusal] = []
    ) throws {
        let all = Self.named(kind, resources) + raw.map { ("", $0) }
        try take(response(kind, version, nonce, all, removed: removed, ttl: ttl), refused)
    }

    mutating func heartbeat(
        _ kind: ResourceKind, _ version: String, _ nonce: String, _ name: String, ttl: String
    ) throws { try take(response(kind, version, nonce, [(name, nil)], ttl: ttl), []) }

    private mutating func take(_ bytes: [UInt8], _ refused: [ResourceRefusal]) throws {
        guard let delivery = try client.received(bytes) else {
            delivered = nil
            return
        }
        delivered = delivery.update
        absent = delivery.absent
        client.settle(delivery, refusing: refused, now: now, at: .epoch)
    }

    /// What happens until then, in words.
    mutating func advance(to time: UInt64) -> [String] {
        now = time
        return client.advance(to: time).map { occurrence in
            switch occurrence {
            case .connect: "connect"
            case .expired(let update): "expired \(update.kind.service) \(update.removed.joined(separator: " "))"
            case .timedOut(let kind, let names): "timedOut \(kind.service) \(names.joined(separator: " "))"
            case .timedOutAll(let kind): "timedOutAll \(kind.service)"
            }
        }
    }

    // MARK: Resources

    private static func named(_ kind: ResourceKind, _ resources: [Message]) -> [(name: String, bytes: [UInt8]?)] {
        resources.map { ($0.text(kind.nameField), $0.binary()) }
    }

    static func cluster(_ name: String, timeout: Int64 = 1) -> Message {
        var message = Message(ResourceKind.cluster.type)
        message.set("name", .string(name))
        message.set("connect_timeout", .duration(.seconds(timeout)))
        return message
    }

    static func endpoints(_ name: String) -> Message {
        var message = Message(ResourceKind.clusterLoadAssignment.type)
        message.set("cluster_name", .string(name))
        return message
    }
}
