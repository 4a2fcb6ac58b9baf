import JSON

/// What a CNI plugin answers when it fails: the specification's error object.
public struct CNIError: Error, Hashable, Sendable, CustomStringConvertible {
    public var code: Code
    /// One short sentence: what failed.
    public var message: String
    /// On what, why, and what to look at.
    public var details: String

    /// Numbers below 100 are the specification's.
    public enum Code: Int64, Sendable {
        case incompatibleVersion = 1
        case unsupportedField = 2
        /// The container is not known; the runtime need not clean up.
        case unknownContainer = 3
        case invalidEnvironment = 4
        case inputOutput = 5
        case decoding = 6
        case invalidConfiguration = 7
        case tryAgainLater = 11
        case notAvailable = 50
        case notAvailableAndLimited = 51
        /// Ours: a request that the kernel or the address pool refused.
        case `internal` = 100
        /// Ours: CHECK found something else than ADD made.
        case checkFailed = 101
    }

    public init(_ code: Code, _ message: String, details: String = "") {
        self.code = code
        self.message = message
        self.details = details
    }

    public var description: String { details.isEmpty ? message : "\(message): \(details)" }

    func json(version: String) -> JSONValue {
        var object: JSONValue = [
            "cniVersion": .string(version), "code": .int(code.rawValue), "msg": .string(message),
        ]
        if !details.isEmpty { object["details"] = .string(details) }
        return object
    }
}
