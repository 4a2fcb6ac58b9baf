import ClusterAPI
import JSON

/// Which objects of a resource a list or watch wants.
struct Selection: Sendable {
    let labels: LabelSelector
    let fields: FieldMatcher
    private let resource: ResourceDescription
    /// Set when a single object is asked for by path.
    let name: String

    init(_ options: ListOptions, _ resource: ResourceDescription, name: String = "") throws(StatusError) {
        try options.fields.check(resource.gvk, namespaced: resource.namespaced)
        labels = options.labels
        fields = options.fields.matcher(for: resource.gvk)
        self.resource = resource
        self.name = name
    }

    /// Whether everything is wanted.
    var isTrivial: Bool { labels.isEmpty && fields.isEmpty && name.isEmpty }

    func matches(_ object: StoredObject) throws(StatusError) -> Bool {
        if isTrivial { return true }
        return matches(try object.json())
    }

    func matches(_ object: JSONValue) -> Bool {
        if !name.isEmpty, object["metadata"]?["name"]?.string != name { return false }
        guard labels.matches(object["metadata"]?["labels"]) else { return false }
        return fields.isEmpty || fields.matches(StorageConversion.fromStorage(object, to: resource))
    }

    /// How a watcher with this selection sees a write; nil: not at all. An object that leaves the selection is deleted for
    /// it, one that enters is added.
    func kind(of record: ChangeRecord) -> WatchKind? {
        if isTrivial {
            if record.current == nil { return .deleted }
            return record.previous == nil ? .added : .modified
        }
        let was = record.previousJSON().map(matches) ?? false
        let isNow = record.currentJSON().map(matches) ?? false
        switch (was, isNow) {
        case (false, false): return nil
        case (false, true): return .added
        case (true, true): return .modified
        case (true, false): return .deleted
        }
    }
}
