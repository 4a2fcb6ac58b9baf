public import JSON

/// RFC 6902: a list of operations, applied in order, all or none.
public enum JSONPatch {
    public static func apply(_ patch: JSONValue, to target: JSONValue) throws(PatchError) -> JSONValue {
        fatalError("not yet")
    }
}
