import Bytes

/// How a resource stands with its client, as `config_dump` and CSDS tell it.
public struct ResourceStatus: Sendable {
    /// `envoy.admin.v3.ClientResourceStatus`.
    public enum Client: String, Sendable {
        case requested = "REQUESTED"
        case absent = "DOES_NOT_EXIST"
        case accepted = "ACKED"
        case refused = "NACKED"
        case timedOut = "TIMEOUT"
    }

    /// The last attempt to take it over that failed.
    public struct Failure: Hashable, Sendable {
        public var version: String
        public var details: String
        public var time: Timestamp
    }

    public let name: String
    /// In use; nil when none is.
    public let resource: Resource?
    /// When what is in use came.
    public let updated: Timestamp?
    public let failure: Failure?
    public let client: Client
}
