import JSON

/// A failure as the Kubernetes API reports it: what clients decode from a body of kind `Status`.
public struct StatusError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The machine-readable word for why, which client libraries branch on.
    public struct Reason: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        public var rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        init(_ rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }

        public static let badRequest = Self("BadRequest")
        public static let unauthorized = Self("Unauthorized")
        public static let forbidden = Self("Forbidden")
        public static let notFound = Self("NotFound")
        public static let methodNotAllowed = Self("MethodNotAllowed")
        public static let notAcceptable = Self("NotAcceptable")
        public static let alreadyExists = Self("AlreadyExists")
        public static let conflict = Self("Conflict")
        public static let gone = Self("Gone")
        public static let expired = Self("Expired")
        public static let requestEntityTooLarge = Self("RequestEntityTooLarge")
        public static let unsupportedMediaType = Self("UnsupportedMediaType")
        public static let invalid = Self("Invalid")
        public static let tooManyRequests = Self("TooManyRequests")
        public static let internalError = Self("InternalError")
        public static let storageReadError = Self("StorageReadError")
        public static let serviceUnavailable = Self("ServiceUnavailable")
        public static let timeout = Self("Timeout")
        public static let serverTimeout = Self("ServerTimeout")
        public static let unknown = Self("Unknown")
    }

    /// One of several things that led to the failure. Its `type` travels under the key `reason`.
    public struct Cause: Hashable, Sendable {
        public var type: String
        public var message: String
        public var field: String

        public init(type: String, message: String, field: String = "") {
            self.type = type
            self.message = message
            self.field = field
        }
    }

    /// What the failure is about. Empty strings and zero seconds are left out of the body.
    public struct Details: Hashable, Sendable {
        public var name: String
        public var group: String
        /// A kind, or for most failures the plural resource: upstream uses the same field for both.
        public var kind: String
        public var uid: String
        public var causes: [Cause]
        public var retryAfterSeconds: Int

        public init(
            name: String = "", group: String = "", kind: String = "", uid: String = "", causes: [Cause] = [],
            retryAfterSeconds: Int = 0
        ) {
            self.name = name
            self.group = group
            self.kind = kind
            self.uid = uid
            self.causes = causes
            self.retryAfterSeconds = retryAfterSeconds
        }

        init(_ resource: GroupVersionResource, _ name: String = "", retryAfterSeconds: Int = 0) {
            self.init(name: name, group: resource.group, kind: resource.resource, retryAfterSeconds: retryAfterSeconds)
        }
    }

    /// HTTP status code.
    public var code: Int
    public var reason: Reason
    public var message: String
    public var details: Details?
    /// A fresh token with which a client may go on listing after 410, at the price of consistency; "" when there is none.
    public var continueToken: String

    public init(code: Int, reason: Reason, message: String, details: Details? = nil, continueToken: String = "") {
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.continueToken = continueToken
    }

    public var description: String { message }

    /// Seconds that a client should wait, for the header `Retry-After`; nil when it should not.
    public var retryAfter: Int? {
        guard let seconds = details?.retryAfterSeconds, seconds > 0 else { return nil }
        return seconds
    }

    /// Whether one of the causes has this type, for example `DisruptionBudget`.
    public func hasCause(_ type: String) -> Bool { details?.causes.contains { $0.type == type } ?? false }
}
