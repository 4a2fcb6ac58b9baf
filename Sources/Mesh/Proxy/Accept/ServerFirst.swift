import JSON
import XDS

/// How a listener that looks at the first bytes of its clients serves those who wait for the server's: see `TentativeConnection`.
struct ServerFirst: Sendable {
    /// Nanoseconds of a client's silence after which its server is called.
    var patience: UInt64 = 200_000_000
    /// Nanoseconds for which an address that has come in plain text is taken for one that does so always: its servers are called at once.
    var memory: UInt64 = 60_000_000_000

    /// A listener's metadata; nil where the client's bytes are waited for as long as `listener_filters_timeout` says.
    init?(metadata: [String: JSONObject]) {
        guard let settings = metadata[ServerFirstName.metadata] else { return nil }
        patience = Self.nanoseconds(settings["patience"]) ?? patience
        memory = Self.nanoseconds(settings["memory"]) ?? memory
    }

    private static func nanoseconds(_ seconds: JSONValue?) -> UInt64? {
        guard let seconds = seconds?.double, seconds >= 0, seconds < 1e9 else { return nil }
        return UInt64(seconds * 1e9)
    }
}
