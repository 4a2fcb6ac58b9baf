/// The failures that an API server reports, each with the words that clients and their tests look for.
extension StatusError {
    public static func badRequest(_ message: String) -> Self {
        Self(code: 400, reason: .badRequest, message: message)
    }

    public static func unauthorized(_ message: String = "Unauthorized") -> Self {
        Self(code: 401, reason: .unauthorized, message: message)
    }

    /// - Parameter why: for example `User "u" cannot list resource "pods" in API group "" in the namespace "n"`.
    public static func forbidden(_ resource: GroupVersionResource, name: String = "", _ why: String) -> Self {
        let subject = name.isEmpty ? resource.groupResource : "\(resource.groupResource) \(quoted(name))"
        return Self(
            code: 403, reason: .forbidden, message: "\(subject) is forbidden: \(why)", details: Details(resource, name))
    }

    /// The refusal to create something in a namespace that is being deleted; clients look for the cause.
    public static func namespaceTerminating(_ resource: GroupVersionResource, _ name: String, namespace: String) -> Self
    {
        let why = "unable to create new content in namespace \(namespace) because it is being terminated"
        var error = forbidden(resource, name: name, why)
        error.details?.causes = [
            Cause(
                type: "NamespaceTerminating", message: "namespace \(namespace) is being terminated",
                field: "metadata.namespace")
        ]
        return error
    }

    public static func notFound(_ resource: GroupVersionResource, _ name: String) -> Self {
        Self(
            code: 404, reason: .notFound, message: "\(resource.groupResource) \(quoted(name)) not found",
            details: Details(resource, name))
    }

    /// No such path.
    public static func pathNotFound() -> Self {
        Self(
            code: 404, reason: .notFound, message: "the server could not find the requested resource",
            details: Details())
    }

    public static func methodNotAllowed(_ resource: GroupVersionResource, _ action: String) -> Self {
        Self(
            code: 405, reason: .methodNotAllowed,
            message: "\(action) is not supported on resources of kind \(quoted(resource.groupResource))",
            details: Details(resource))
    }

    /// A method on a path that is no resource.
    public static func methodNotAllowed() -> Self {
        Self(
            code: 405, reason: .methodNotAllowed,
            message: "the server does not allow this method on the requested resource",
            details: Details())
    }

    public static func notAcceptable(accepted: [String]) -> Self {
        Self(
            code: 406, reason: .notAcceptable,
            message: "only the following media types are accepted: \(accepted.joined(separator: ", "))")
    }

    public static func alreadyExists(_ resource: GroupVersionResource, _ name: String) -> Self {
        Self(
            code: 409, reason: .alreadyExists, message: "\(resource.groupResource) \(quoted(name)) already exists",
            details: Details(resource, name))
    }

    public static func conflict(_ resource: GroupVersionResource, _ name: String, _ why: String = modified) -> Self {
        Self(
            code: 409, reason: .conflict,
            message: "Operation cannot be fulfilled on \(resource.groupResource) \(quoted(name)): \(why)",
            details: Details(resource, name))
    }

    /// Why a write that expected another resourceVersion is refused.
    public static let modified =
        "the object has been modified; please apply your changes to the latest version and try again"

    /// The write expected another uid than the object has.
    public static func uidConflict(
        _ resource: GroupVersionResource, _ name: String, expected: String, found: String
    ) -> Self {
        conflict(
            resource, name,
            "Precondition failed: UID in precondition: \(expected), UID in object meta: \(found)")
    }

    /// A delete whose precondition on the resourceVersion does not hold.
    public static func resourceVersionConflict(
        _ resource: GroupVersionResource, _ name: String, expected: String, found: String
    ) -> Self {
        conflict(
            resource, name,
            "Precondition failed: ResourceVersion in precondition: \(expected), ResourceVersion in object meta: \(found)"
        )
    }

    /// The history that the request needs was compacted away.
    /// - Parameter continueToken: a token to go on with inconsistently, when there is one.
    public static func expired(_ message: String, continueToken: String = "") -> Self {
        Self(code: 410, reason: .expired, message: message, continueToken: continueToken)
    }

    /// A watch or list from a revision that is no longer kept.
    public static func tooOldResourceVersion(_ requested: Int64, oldest: Int64) -> Self {
        expired("too old resource version: \(requested) (\(oldest))")
    }

    public static func gone(_ message: String) -> Self {
        Self(code: 410, reason: .gone, message: message)
    }

    public static func requestEntityTooLarge(limit: Int) -> Self {
        Self(code: 413, reason: .requestEntityTooLarge, message: "Request entity too large: limit is \(limit)")
    }

    public static func unsupportedMediaType(accepted: [String]) -> Self {
        let list = accepted.joined(separator: ", ")
        return Self(
            code: 415, reason: .unsupportedMediaType,
            message: "the body of the request was in an unknown format - accepted media types include: \(list)")
    }

    /// - Precondition: `errors` is not empty.
    public static func invalid(_ kind: GroupVersionKind, _ name: String, _ errors: [FieldError]) -> Self {
        precondition(!errors.isEmpty)
        var seen = Set<String>()
        let messages = errors.map(\.description).filter { seen.insert($0).inserted }
        let joined = messages.count == 1 ? messages[0] : "[\(messages.joined(separator: ", "))]"
        let subject = kind.group.isEmpty ? kind.kind : "\(kind.kind).\(kind.group)"
        let causes = errors.map { Cause(type: $0.kind.rawValue, message: $0.body, field: $0.path.description) }
        return Self(
            code: 422, reason: .invalid, message: "\(subject) \(quoted(name)) is invalid: \(joined)",
            details: Details(name: name, group: kind.group, kind: kind.kind, causes: causes))
    }

    public static func tooManyRequests(_ message: String, retryAfterSeconds: Int = 0, causes: [Cause] = []) -> Self {
        Self(
            code: 429, reason: .tooManyRequests, message: message,
            details: Details(causes: causes, retryAfterSeconds: retryAfterSeconds))
    }

    public static func internalError(_ message: String) -> Self {
        Self(
            code: 500, reason: .internalError, message: "Internal error occurred: \(message)",
            details: Details(causes: [Cause(type: "", message: message)]))
    }

    public static func storageReadError(_ message: String) -> Self {
        Self(code: 500, reason: .storageReadError, message: message)
    }

    public static func serviceUnavailable(_ message: String) -> Self {
        Self(code: 503, reason: .serviceUnavailable, message: message)
    }

    public static func timeout(_ message: String, retryAfterSeconds: Int = 0) -> Self {
        Self(
            code: 504, reason: .timeout, message: "Timeout: \(message)",
            details: Details(retryAfterSeconds: retryAfterSeconds))
    }

    public static func serverTimeout(_ resource: GroupVersionResource, _ operation: String, retryAfterSeconds: Int)
        -> Self
    {
        Self(
            code: 500, reason: .serverTimeout,
            message:
                "The \(operation) operation against \(resource.groupResource) could not be completed at this time, please try again.",
            details: Details(resource, operation, retryAfterSeconds: retryAfterSeconds))
    }

    /// The request asks for a state that this server has not reached within the time it may wait.
    public static func resourceVersionTooLarge(_ requested: Int64, current: Int64) -> Self {
        var error = timeout("Too large resource version: \(requested), current: \(current)", retryAfterSeconds: 1)
        error.details?.causes = [Cause(type: "ResourceVersionTooLarge", message: "Too large resource version")]
        return error
    }

    /// Fields that another manager owns; `causes` carry one `FieldManagerConflict` a path.
    public static func applyConflict(_ causes: [Cause], message: String) -> Self {
        Self(code: 409, reason: .conflict, message: message, details: Details(causes: causes))
    }
}

extension StatusError {
    /// For clients: an answer with a failing status whose body is no Status, from a proxy in between for instance.
    public static func unexpected(_ code: Int, _ body: String) -> Self {
        var error = internalError("the server answered \(code): \(body)")
        error.code = code
        error.reason = .unknown
        return error
    }
}
