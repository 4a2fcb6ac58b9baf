import Bytes
import Glibc
import Reactor
import XDS

/// How a listener's socket is made, besides its address.
struct SocketSettings: Hashable, Sendable {
    /// Each worker has a socket of its own, and the kernel spreads connections over them; else one is shared.
    var reusesPort = true
    var freeBind = false
    var isIPv6Only = true
    /// Of a Unix socket's file.
    var mode: UInt32 = 0o600
    var options: [SocketOption] = []
    var acceptsInTurn = Listener.maximumAcceptsInTurn

    /// A socket that was bound by one of them serves by the other.
    func isBoundAs(_ other: SocketSettings) -> Bool {
        var same = other
        same.acceptsInTurn = acceptsInTurn
        return self == same
    }

    /// What an `envoy.config.listener.v3.Listener` says for all of its addresses.
    init(listener node: ConfigNode) throws(ConfigError) {
        reusesPort = node.bool("enable_reuse_port", default: true)
        freeBind = node.bool("freebind", default: false)
        if node.bool("transparent", default: false) { options.append(.transparent) }
        if let queue = node.uint32IfSet("tcp_fast_open_queue_length") {
            options.append(.fastOpen(CInt(clamping: queue)))
        }
        if let most = node.uint32IfSet("max_connections_to_accept_per_socket_event") { acceptsInTurn = Int(most) }
        options += node.message("tcp_keepalive").map(Self.keepAlive) ?? []
        options += try node.messages("socket_options", SocketOption.init)
    }

    /// The settings of one address: those of all, and what it says itself.
    init(_ common: SocketSettings, _ address: ListenAddress, additional: ConfigNode? = nil) throws(ConfigError) {
        self = common
        isIPv6Only = !address.takesIPv4
        if address.mode != 0 { mode = address.mode }
        guard let additional else { return }
        if let override = additional.message("socket_options") {
            options = try override.messages("socket_options", SocketOption.init)
        }
        options += additional.message("tcp_keepalive").map(Self.keepAlive) ?? []
    }

    private static func keepAlive(_ node: ConfigNode) -> [SocketOption] {
        SocketOption.keepAlive(
            probes: node.uint32IfSet("keepalive_probes"), time: node.uint32IfSet("keepalive_time"),
            interval: node.uint32IfSet("keepalive_interval"))
    }
}

extension SocketOption {
    /// An `envoy.config.core.v3.SocketOption`.
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        guard let level = CInt(exactly: node.int64("level")), let name = CInt(exactly: node.int64("name")) else {
            throw node.error("level and name are numbers of 32 bits")
        }
        let stage: Stage =
            switch try node.enumeration("state", as: State.self) {
            case .beforeBind: .beforeBind
            case .bound: .bound
            case .listening: .listening
            }
        let text = node.string("description")
        switch node.choice("value") {
        case "int_value":
            guard let number = CInt(exactly: node.int64("int_value")) else {
                throw node.error("int_value", "is more than 32 bits")
            }
            self.init(level: level, name: name, number, stage: stage, text: text)
        default: self.init(level: level, name: name, value: node.bytes("buf_value"), stage: stage, text: text)
        }
    }

    private enum State: String, ConfigEnum {
        case beforeBind = "STATE_PREBIND"
        case bound = "STATE_BOUND"
        case listening = "STATE_LISTENING"
    }
}
