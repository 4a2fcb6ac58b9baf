import ClusterAPI
import JSON

/// A route of the Gateway API in words: pure.
struct RouteView: Sendable {
    let object: KubeObject

    var key: ObjectKey { object.key }
    var rules: [JSONValue] { object.spec.list("rules") }
    var hostnames: [String] { object.spec.list("hostnames").compactMap(\.string) }

    /// `Service cart:80`, `Gateway infra/edge`.
    var parents: [String] { object.spec.list("parentRefs").map { Self.words(ofParent: $0, from: key.namespace) } }

    static func words(ofParent reference: JSONValue, from namespace: String) -> String {
        let kind = reference.text("kind").isEmpty ? "Gateway" : reference.text("kind")
        let other = reference.text("namespace")
        var words = "\(kind) \(other.isEmpty || other == namespace ? "" : other + "/")\(reference.text("name"))"
        if let port = reference["port"]?.int { words += ":\(port)" }
        if !reference.text("sectionName").isEmpty { words += " (\(reference.text("sectionName")))" }
        return words
    }

    /// Binds to a Service of this name and, where it says one, this port.
    func isOf(_ service: ObjectKey, port: Int64? = nil) -> Bool {
        object.spec.list("parentRefs").contains { reference in
            let own = reference.text("namespace")
            let bound = reference["port"]?.int
            return reference.text("kind") == "Service" && reference.text("name") == service.name
                && (own.isEmpty ? key.namespace : own) == service.namespace
                && (port == nil || bound == nil || bound == port)
        }
    }

    // MARK: Rules

    static func words(ofMatches rule: JSONValue) -> String {
        let matches = rule.list("matches").map(words(ofMatch:)).filter { !$0.isEmpty }
        return matches.isEmpty ? "everything" : matches.joined(separator: " or ")
    }

    private static func words(ofMatch match: JSONValue) -> String {
        var words: [String] = []
        if let path = match["path"], !(path.text("type") == "PathPrefix" && path.text("value") == "/") {
            let value = path.text("value")
            switch path.text("type") {
            case "Exact": words.append(value)
            case "RegularExpression": words.append("~\(value)")
            default: words.append("\(value)*")
            }
        }
        // HTTP's method is a word, gRPC's has parts.
        if let method = match["method"]?.string { words.append(method) }
        if let method = match["method"], method.object != nil {
            words.append("\(method.text("service"))/\(method.text("method"))")
        }
        for header in match.list("headers") {
            let sign = header.text("type") == "RegularExpression" ? "~" : "="
            words.append("\(header.text("name"))\(sign)\(header.text("value"))")
        }
        for parameter in match.list("queryParams") {
            words.append("?\(parameter.text("name"))=\(parameter.text("value"))")
        }
        return words.joined(separator: " ")
    }

    /// `cart 90%, cart-v2 10%`.
    static func words(ofBackends rule: JSONValue) -> String {
        let backends = Backend.all(of: rule)
        if backends.isEmpty {
            let redirects = rule.list("filters").contains { $0.text("type") == "RequestRedirect" }
            return redirects ? "a redirect" : "nothing (500)"
        }
        guard backends.count > 1 else { return backends[0].words }
        let total = backends.reduce(0) { $0 + $1.weight }
        return backends.map { "\($0.words) \(share($0.weight, of: total))" }.joined(separator: ", ")
    }

    static func share(_ weight: Int64, of total: Int64) -> String {
        guard total > 0 else { return "0%" }
        let tenths = (weight * 1000 + total / 2) / total
        return tenths % 10 == 0 ? "\(tenths / 10)%" : "\(tenths / 10).\(tenths % 10)%"
    }

    struct Backend: Hashable {
        var name: String
        var namespace: String
        var port: Int64?
        var weight: Int64

        init(_ reference: JSONValue) {
            name = reference.text("name")
            namespace = reference.text("namespace")
            port = reference["port"]?.int
            weight = reference["weight"]?.int ?? 1
        }

        static func all(of rule: JSONValue) -> [Backend] { rule.list("backendRefs").map(Backend.init) }

        var words: String { (namespace.isEmpty ? "" : namespace + "/") + name + (port.map { ":\($0)" } ?? "") }
    }

    /// What else a rule does, a sentence each.
    static func extras(_ rule: JSONValue) -> [String] {
        var words: [String] = []
        for filter in rule.list("filters") {
            switch filter.text("type") {
            case "RequestMirror":
                let mirror = filter["requestMirror"] ?? .null
                let share = mirror["percent"]?.int.map { "\($0)%" } ?? "all"
                words.append("mirrors \(share) to \(Backend(mirror["backendRef"] ?? .null).words)")
            case let type where !type.isEmpty: words.append(type)
            default: break
            }
        }
        let timeout = rule.text("timeouts", "request")
        if !timeout.isEmpty { words.append("gives up after \(timeout)") }
        if let retry = rule["retry"] {
            let codes = retry.list("codes").compactMap(\.int).map(String.init).joined(separator: ", ")
            words.append("tries \(retry["attempts"]?.int ?? 1) times more\(codes.isEmpty ? "" : " on \(codes)")")
        }
        return words
    }

    // MARK: Status

    struct Condition: Hashable {
        var parent: String
        var type: String
        var isTrue: Bool
        var reason: String
        var message: String
    }

    var conditions: [Condition] {
        object.status.list("parents").flatMap { parent in
            parent.list("conditions").map { condition in
                Condition(
                    parent: Self.words(ofParent: parent["parentRef"] ?? .null, from: key.namespace),
                    type: condition.text("type"), isTrue: condition.text("status") == "True",
                    reason: condition.text("reason"), message: condition.text("message"))
            }
        }
    }

    /// `Accepted`, or what stands against it.
    var state: String {
        guard !conditions.isEmpty else { return "no status yet" }
        return against.isEmpty ? "Accepted" : against.map(\.reason).joined(separator: ", ")
    }
    var isWell: Bool { state == "Accepted" }
    /// Conditions that stand against it: `PartiallyInvalid` and `Conflicted` are bad when they are true.
    var against: [Condition] {
        conditions.filter { ["PartiallyInvalid", "Conflicted"].contains($0.type) == $0.isTrue }
    }
    /// Taken by those that it is for, whatever becomes of its references.
    var isAccepted: Bool {
        conditions.contains { $0.type == "Accepted" } && !against.contains { $0.type == "Accepted" }
    }

    var fault: String { object.annotations[FaultRule.annotation] ?? "" }
}
