import ClusterAPI
import Store

/// Query parameters, unescaped, as the API reads them.
struct Parameters: Sendable {
    private var items: [(name: String, value: String)]

    init(_ items: [(name: String, value: String)] = []) { self.items = items }

    /// The first value under a name; nil when absent.
    subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// The value under a name; nil when absent or empty, which the API treats alike.
    func text(_ name: String) -> String? { self[name].flatMap { $0.isEmpty ? nil : $0 } }

    func values(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    func bool(_ name: String) throws(StatusError) -> Bool? {
        guard let text = self[name] else { return nil }
        switch text {
        case "", "1", "true", "True", "TRUE", "t", "T": return true
        case "0", "false", "False", "FALSE", "f", "F": return false
        default: throw .badRequest("parameter \(name): \"\(text)\" is not a boolean")
        }
    }

    func integer(_ name: String) throws(StatusError) -> Int64? {
        guard let text = text(name) else { return nil }
        guard let number = Int64(text) else { throw .badRequest("parameter \(name): \"\(text)\" is not a number") }
        return number
    }

    var all: [(name: String, value: String)] { items }
}

/// How a list or watch relates to time, and what of it is wanted.
struct ListOptions: Sendable {
    enum Match: Sendable { case notOlderThan, exact }

    var labels = LabelSelector.everything
    var fields = FieldSelector.everything
    /// Nil: the client did not say. `.zero`: whatever is at hand.
    var revision: Revision?
    var match: Match?
    /// Nil: no limit.
    var limit: Int?
    var continueToken: ContinueToken?
    var isWatch = false
    var allowsBookmarks = false
    var sendsInitialEvents: Bool?
    /// Seconds.
    var timeout: Int64?

    init() {}

    init(_ parameters: Parameters) throws(StatusError) {
        if let text = parameters.text("labelSelector") { labels = try LabelSelector(parsing: text) }
        if let text = parameters.text("fieldSelector") { fields = try FieldSelector(parsing: text) }
        if let text = parameters.text("resourceVersion") { revision = try Self.revision(text) }
        if let limit = try parameters.integer("limit"), limit > 0 { self.limit = Int(clamping: limit) }
        isWatch = try parameters.bool("watch") ?? false
        allowsBookmarks = try parameters.bool("allowWatchBookmarks") ?? false
        sendsInitialEvents = try parameters.bool("sendInitialEvents")
        timeout = try parameters.integer("timeoutSeconds")
        switch parameters.text("resourceVersionMatch") {
        case nil: break
        case "NotOlderThan": match = .notOlderThan
        case "Exact": match = .exact
        case let other?:
            throw Self.invalid("resourceVersionMatch", "NotSupported", "Unsupported value: \"\(other)\"")
        }
        if let text = parameters.text("continue") { continueToken = try ContinueToken(text) }
        try check()
    }

    static func revision(_ text: String) throws(StatusError) -> Revision {
        guard let number = Int64(text), number >= 0 else {
            throw invalid("resourceVersion", "Invalid", "Invalid value: \"\(text)\": must be a non-negative number")
        }
        return Revision(rawValue: number)
    }

    /// The combinations that make no sense, each with the field that is wrong.
    private func check() throws(StatusError) {
        if isWatch {
            if let sendsInitialEvents {
                if match == nil {
                    throw Self.invalid(
                        "resourceVersionMatch", "Forbidden",
                        "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
                }
                if sendsInitialEvents, !allowsBookmarks {
                    // Without bookmarks the client could not tell where the initial events end.
                    throw Self.invalid(
                        "allowWatchBookmarks", "Forbidden",
                        "Forbidden: sendInitialEvents requires allowWatchBookmarks")
                }
            } else if match != nil {
                throw Self.invalid(
                    "resourceVersionMatch", "Forbidden",
                    "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            }
            if match == .exact {
                throw Self.invalid(
                    "resourceVersionMatch", "NotSupported",
                    "Unsupported value: \"Exact\": supported values: \"NotOlderThan\"")
            }
            return
        }
        if sendsInitialEvents != nil {
            throw Self.invalid("sendInitialEvents", "Forbidden", "Forbidden: sendInitialEvents is forbidden for list")
        }
        if match != nil {
            if continueToken != nil {
                throw Self.invalid(
                    "resourceVersionMatch", "Forbidden",
                    "Forbidden: resourceVersionMatch is forbidden when continue is provided")
            }
            guard let revision else {
                throw Self.invalid(
                    "resourceVersionMatch", "Forbidden",
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            if match == .exact, revision == .zero {
                throw Self.invalid(
                    "resourceVersionMatch", "Forbidden",
                    "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
            }
        }
        if continueToken != nil, let revision, revision != .zero {
            throw .badRequest("specifying resource version is not allowed when using continue")
        }
    }

    private static func invalid(_ field: String, _ type: String, _ message: String) -> StatusError {
        StatusError(
            code: 422, reason: .invalid, message: "ListOptions.meta.k8s.io \"\" is invalid: \(field): \(message)",
            details: .init(
                group: "meta.k8s.io", kind: "ListOptions",
                causes: [.init(type: "FieldValue\(type)", message: message, field: field)]))
    }
}

/// Options of create, update and patch.
struct WriteOptions: Sendable {
    enum FieldValidation: Sendable { case ignore, warn, strict }

    var dryRun = false
    var fieldValidation = FieldValidation.warn
    var fieldManager: String?
    /// Server-side apply only.
    var force = false

    init() {}

    init(_ parameters: Parameters) throws(StatusError) {
        dryRun = try Self.dryRun(parameters.values("dryRun"))
        fieldManager = parameters.text("fieldManager")
        force = try parameters.bool("force") ?? false
        switch parameters.text("fieldValidation") {
        case nil, "Warn": fieldValidation = .warn
        case "Ignore": fieldValidation = .ignore
        case "Strict": fieldValidation = .strict
        case let other?:
            throw StatusError(
                code: 422, reason: .invalid,
                message:
                    "fieldValidation: Unsupported value: \"\(other)\": supported values: \"Ignore\", \"Strict\", \"Warn\""
            )
        }
    }

    static func dryRun(_ values: [String]) throws(StatusError) -> Bool {
        for value in values where value != "All" {
            throw StatusError(
                code: 422, reason: .invalid,
                message: "dryRun: Unsupported value: \"\(value)\": supported values: \"All\"")
        }
        return !values.isEmpty
    }
}

/// Options of delete, from the body and the query together.
struct DeleteOptions: Sendable {
    enum Propagation: String, Sendable { case orphan = "Orphan", background = "Background", foreground = "Foreground" }

    var dryRun = false
    /// Nil: the kind's own.
    var gracePeriodSeconds: Int64?
    /// Nil: the kind's own, or what the object's finalizers say.
    var propagation: Propagation?
    var expectedUID: String?
    var expectedRevision: String?

    init() {}
}
