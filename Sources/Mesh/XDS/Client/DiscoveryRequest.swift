/// One request of a client, of either form.
struct DiscoveryRequest {
    /// Of the response that is answered; empty when none is.
    var nonce = ""
    /// Why the response that is answered was refused, wholly or in part; nil accepts it.
    var refusal: String?
    /// The last version of the kind that was accepted as a whole. State of the world only.
    var version = ""
    /// All that is asked for, or with a delta what is asked for from now on.
    var names: [String] = []
    /// What is asked for no longer. Delta only.
    var dropped: [String] = []
    /// Versions in hand from an earlier stream. Delta only.
    var held: [(name: String, version: String)] = []

    /// gRPC's code for what is wrong with what somebody sent.
    private static let invalidArgument: Int64 = 3

    /// - Parameter node: Who asks; nil when the stream has said so already.
    func message(_ kind: ResourceKind, _ form: DiscoveryForm, node: Message?) -> Message {
        var message: Message
        switch form {
        case .stateOfTheWorld:
            message = Message(Message.type("envoy.service.discovery.v3.DiscoveryRequest"))
            message.set("version_info", .string(version))
            message.set("resource_names", strings: names)
        case .delta:
            message = Message(Message.type("envoy.service.discovery.v3.DeltaDiscoveryRequest"))
            message.set("resource_names_subscribe", strings: names)
            message.set("resource_names_unsubscribe", strings: dropped)
            if !held.isEmpty {
                message.set(
                    "initial_resource_versions",
                    .map(held.map { MapEntry(key: .string($0.name), value: .string($0.version)) }))
                message.sortMaps()
            }
        }
        message.set("type_url", .string(kind.typeURL))
        message.set("response_nonce", .string(nonce))
        if let node { message.set("node", .message(node)) }
        if let refusal {
            var status = Message(Message.type("google.rpc.Status"))
            status.set("code", .int(Self.invalidArgument))
            status.set("message", .string(refusal))
            message.set("error_detail", .message(status))
        }
        return message
    }
}
