import Bytes
import JSON

/// Objects of one kind as the Table that `kubectl get` prints: `meta.k8s.io` Table.
///
/// Rows of a watch are rendered one by one, so that the caller can encode each once for all its watchers.
public struct Table: Sendable {
    /// What of the object travels beside its cells.
    public enum IncludeObject: String, Sendable {
        case none = "None"
        case metadata = "Metadata"
        case object = "Object"

        /// From the query parameter `includeObject`; absent or empty is metadata.
        /// - Throws: `StatusError` 400 for any other word.
        public init(query: String?) throws(StatusError) {
            guard let query, !query.isEmpty else {
                self = .metadata
                return
            }
            guard let known = Self(rawValue: query) else {
                throw .badRequest("unrecognized includeObject value: \(quoted(query))")
            }
            self = known
        }
    }

    private let columns: [TableColumn]
    private let version: String
    private let include: IncludeObject
    private let isPods: Bool

    /// - Parameters:
    ///   - kind: what the objects are; a kind without columns of its own shows its name and creation time.
    ///   - version: of `meta.k8s.io`: `v1` or `v1beta1`, as the client asked.
    public init(_ kind: GroupVersionKind, version: String = "v1", include: IncludeObject = .metadata) {
        self.version = version
        self.include = include
        isPods = kind.group.isEmpty && kind.kind == "Pod"
        columns = KindColumns.of(kind)
    }

    /// The table of `objects`.
    /// - Parameters:
    ///   - metadata: the list's (resourceVersion, continue, remainingItemCount); of a single object pass nil.
    ///   - withColumns: false for the second and later events of a watch, which leave the definitions out.
    ///   - now: what ages are counted to.
    public func json(of objects: [JSONValue], metadata: JSONValue? = nil, withColumns: Bool = true, now: Timestamp)
        -> JSONValue
    {
        var metadata = metadata ?? .object([:])
        if objects.count == 1, metadata.object?.isEmpty ?? true,
            let version = objects[0][path: "metadata", "resourceVersion"]
        {
            metadata = .object(["resourceVersion": version])
        }
        return .object([
            "kind": "Table", "apiVersion": .string("meta.k8s.io/\(version)"), "metadata": metadata,
            "columnDefinitions": withColumns ? .array(columns.map(\.json)) : .null,
            "rows": .array(objects.map { row($0, now: now) }),
        ])
    }

    /// One row.
    public func row(_ object: JSONValue, now: Timestamp) -> JSONValue {
        let source = TableColumn.Source(object: object, now: now, pod: isPods ? PodStatus(object) : nil)
        var row: JSONObject = ["cells": .array(columns.map { $0.cell(source) })]
        switch include {
        case .none: break
        case .metadata: row["object"] = PartialObjectMetadata.json(of: object, version: version)
        case .object: row["object"] = object
        }
        if let condition = completion(object) { row["conditions"] = .array([condition]) }
        return .object(row)
    }

    /// Marks the rows of pods that will not run again, which clients may hide.
    private func completion(_ object: JSONValue) -> JSONValue? {
        guard isPods else { return nil }
        switch object.text("status", "phase") {
        case "Succeeded":
            return [
                "type": "Completed", "status": "True", "reason": "Succeeded",
                "message": "The pod has completed successfully.",
            ]
        case "Failed":
            return ["type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."]
        default: return nil
        }
    }
}
