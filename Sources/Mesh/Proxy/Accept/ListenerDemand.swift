import Bytes
import JSON
import XDS

/// How a listener asks its control plane for the listeners of destinations that nobody has told it of.
struct ListenerDemand: Hashable, Sendable {
    var origin: ConfigSource.Origin
    /// Nanoseconds that a connection waits for an answer; then it goes on as if there were none.
    var timeout: UInt64 = 1_500_000_000
    /// Nanoseconds without a connection after which what was asked for is given up.
    var idleTime: UInt64 = 600_000_000_000

    /// - Parameters:
    ///   - metadata: a listener's.
    ///   - origin: where listeners come from that can be asked for; nil where none can.
    init?(metadata: [String: JSONObject], _ origin: ConfigSource.Origin?) {
        guard let origin, let settings = metadata[ListenersOnDemand.metadata] else { return nil }
        self.origin = origin
        timeout = Self.nanoseconds(settings["timeout"]) ?? timeout
        idleTime = Self.nanoseconds(settings["idle_timeout"]) ?? idleTime
    }

    private static func nanoseconds(_ seconds: JSONValue?) -> UInt64? {
        guard let seconds = seconds?.double, seconds > 0, seconds < 1e9 else { return nil }
        return UInt64(seconds * 1e9)
    }

    /// Where the listener leads that control planes call so.
    static func destination(_ name: String) -> SocketAddress? {
        guard let end = name.lastIndex(of: "_"), let address = IPAddress(String(name[..<end])),
            let port = UInt16(name[name.index(after: end)...])
        else { return nil }
        return .ip(address, Port(port))
    }

    /// What control planes call the listener of a destination.
    static func name(_ destination: SocketAddress) -> String? {
        guard case .ip(let address, let port, _) = destination else { return nil }
        return "\(address)_\(port.rawValue)"
    }
}

/// What becomes of the question who listens at a destination.
enum ListenerAnswer: Sendable {
    /// It serves now.
    case here
    /// There is none, for now.
    case absent
    /// Nobody can be asked, or has answered in time; the answer may come yet.
    case silent
    /// The question is not kept: whoever comes next asks again.
    case forgotten
}
