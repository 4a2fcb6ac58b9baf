import JSON

/// Objects reduced to their metadata, which is all that garbage collectors and many informers need.
public enum PartialObjectMetadata {
    /// One object.
    /// - Parameter version: of `meta.k8s.io`: `v1` or `v1beta1`.
    public static func json(of object: JSONValue, version: String = "v1") -> JSONValue {
        .object([
            "kind": "PartialObjectMetadata", "apiVersion": .string("meta.k8s.io/\(version)"),
            "metadata": object["metadata"] ?? .object([:]),
        ])
    }

    /// A list of objects with the list's own metadata.
    public static func list(of objects: [JSONValue], metadata: JSONValue, version: String = "v1") -> JSONValue {
        .object([
            "kind": "PartialObjectMetadataList", "apiVersion": .string("meta.k8s.io/\(version)"),
            "metadata": metadata, "items": .array(objects.map { json(of: $0, version: version) }),
        ])
    }
}
