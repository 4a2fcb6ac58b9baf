import JSON

extension FieldSelector {
    /// Checks that objects of `kind` can be selected by each of the fields.
    /// - Throws: `StatusError` 400 `field label not supported: X`, or for kinds with no fields of their own the sentence
    ///   that upstream uses for those.
    public func check(_ kind: GroupVersionKind, namespaced: Bool) throws(StatusError) {
        let own = SelectableFields.own(kind)
        for term in terms where own[term.field] == nil {
            if term.field == "metadata.name" || (term.field == "metadata.namespace" && namespaced) { continue }
            if !own.isEmpty { throw .badRequest("field label not supported: \(term.field)") }
            throw .badRequest(
                "\(quoted(term.field)) is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
    }

    /// The selector made ready for objects of one kind. A field that the kind does not have reads as empty.
    public func matcher(for kind: GroupVersionKind) -> FieldMatcher {
        let own = SelectableFields.own(kind)
        return FieldMatcher(
            terms: terms.map { term in
                let read: SelectableFields.Reader =
                    switch term.field {
                    case "metadata.name": { $0["metadata"]?["name"]?.string ?? "" }
                    case "metadata.namespace": { $0["metadata"]?["namespace"]?.string ?? "" }
                    default: own[term.field] ?? { _ in "" }
                    }
                return (read, term.value, term.equal)
            })
    }
}

/// A field selector for objects of one kind, made once and asked for every object that a list or watch passes.
public struct FieldMatcher: Sendable {
    fileprivate let terms: [(read: SelectableFields.Reader, value: String, equal: Bool)]

    public var isEmpty: Bool { terms.isEmpty }

    /// Whether the object is chosen.
    public func matches(_ object: JSONValue) -> Bool {
        terms.allSatisfy { ($0.read(object) == $0.value) == $0.equal }
    }
}

/// Which fields a kind can be selected by, beside its name and namespace, and how each is read.
enum SelectableFields {
    typealias Reader = @Sendable (JSONValue) -> String

    static func own(_ kind: GroupVersionKind) -> [String: Reader] {
        table["\(kind.group)/\(kind.kind)"] ?? [:]
    }

    private static func text(_ path: String, absent: String = "") -> Reader {
        let keys = path.split(separator: ".").map(String.init)
        return { object in
            var value = object
            for key in keys {
                guard let next = value[key] else { return absent }
                value = next
            }
            switch value {
            case .string(let text): return text
            case .bool(let flag): return flag ? "true" : "false"
            case .int(let number): return String(number)
            default: return absent
            }
        }
    }

    private static func same(_ paths: String..., absent: String = "") -> [String: Reader] {
        Dictionary(uniqueKeysWithValues: paths.map { ($0, text($0, absent: absent)) })
    }

    private static let table: [String: [String: Reader]] = [
        "/Pod": same(
            "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase",
            "status.podIP", "status.nominatedNodeName"
        ).merging([
            "spec.host": text("spec.nodeName"),
            "spec.hostNetwork": text("spec.hostNetwork", absent: "false"),
            "status.podIPs": {
                ($0["status"]?["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }.joined(separator: ",")
            },
        ]) { $1 },
        "/Node": same("spec.unschedulable", absent: "false"),
        "/Event": event("involvedObject", source: "source"),
        "events.k8s.io/Event": event("regarding", source: "deprecatedSource"),
        "/Namespace": same("status.phase"),
        "/Secret": same("type"),
        "/Service": same("spec.clusterIP", "spec.type"),
        "/ReplicationController": same("status.replicas", absent: "0"),
        "apps/ReplicaSet": same("status.replicas", absent: "0"),
        "batch/Job": ["status.successful": text("status.succeeded", absent: "0")],
        "certificates.k8s.io/CertificateSigningRequest": same("spec.signerName"),
        "certificates.k8s.io/ClusterTrustBundle": same("spec.signerName"),
        "certificates.k8s.io/PodCertificateRequest": same("spec.signerName", "spec.podName", "spec.nodeName"),
        "resource.k8s.io/ResourceSlice": same("spec.nodeName", "spec.driver"),
    ]

    private static func event(_ subject: String, source: String) -> [String: Reader] {
        var readers: [String: Reader] = [:]
        for field in ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"] {
            readers["\(subject).\(field)"] = text("\(subject).\(field)")
        }
        readers["reason"] = text("reason")
        readers["type"] = text("type")
        // The reporter may be named in either of two places, by the age of the client that wrote the event.
        let reporter = text(subject == "regarding" ? "reportingController" : "reportingComponent")
        let component = text("\(source).component")
        readers["reportingComponent"] = reporter
        if subject == "regarding" { readers["reportingController"] = reporter }
        readers["source"] = { object in
            let named = component(object)
            return named.isEmpty ? reporter(object) : named
        }
        return readers
    }
}
