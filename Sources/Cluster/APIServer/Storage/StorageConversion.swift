import ClusterAPI
import JSON

/// Between the form that a resource shows and the one that is kept.
///
/// Core and `events.k8s.io` name the fields of Event differently; versions of the Gateway API differ in nothing but
/// the version. All other resources are kept as they are served, and pass unchanged.
enum StorageConversion {
    private static let names: [(core: String, events: String)] = [
        ("involvedObject", "regarding"), ("message", "note"), ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"), ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"), ("count", "deprecatedCount"),
    ]

    static func fromStorage(_ object: JSONValue, to resource: ResourceDescription) -> JSONValue {
        guard resource.gvk != resource.storageKind else { return object }
        return convert(object, to: resource.gvk)
    }

    static func toStorage(_ object: JSONValue, from resource: ResourceDescription) -> JSONValue {
        guard resource.gvk != resource.storageKind else { return object }
        return convert(object, to: resource.storageKind)
    }

    private static func convert(_ object: JSONValue, to kind: GroupVersionKind) -> JSONValue {
        var object = object
        object["apiVersion"] = .string(kind.apiVersion)
        object["kind"] = .string(kind.kind)
        guard kind.kind == "Event" else { return object }
        for (core, events) in names {
            let (from, to) = kind.group.isEmpty ? (events, core) : (core, events)
            if let value = object[from] {
                object[from] = nil
                object[to] = value
            }
        }
        return object
    }
}
