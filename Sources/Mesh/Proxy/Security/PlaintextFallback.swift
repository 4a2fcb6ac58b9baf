import JSON
import XDS

/// TLS as an offer: a host that does not take it is called once more, in plain text (RFC 7435). Nothing has been said to it until then,
/// so nothing is lost; who can change what passes on the way can prevent it.
struct PlaintextFallback: Sendable, Equatable {
    /// Milliseconds that a handshake may take, from when the transport stands.
    var handshakeTime: UInt32 = 1000
    /// Nanoseconds for which a host that took none is not asked again.
    var memory: UInt64 = 60_000_000_000

    init() {}

    /// A cluster's metadata; nil where TLS is a must.
    init?(metadata: [String: JSONObject]) {
        guard let settings = metadata[PlaintextFallbackName.metadata] else { return nil }
        if let time = Self.seconds(settings["handshake_timeout"]) {
            handshakeTime = max(UInt32(clamping: Int64(time * 1000)), 1)
        }
        if let time = Self.seconds(settings["memory"]) { memory = UInt64(time * 1e9) }
    }

    private static func seconds(_ value: JSONValue?) -> Double? {
        guard let seconds = value?.double, seconds > 0, seconds < 1e6 else { return nil }
        return seconds
    }
}
