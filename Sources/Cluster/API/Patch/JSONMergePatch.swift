public import JSON

/// RFC 7386: an object that looks like the change; null removes.
public enum JSONMergePatch {
    public static func apply(_ patch: JSONValue, to target: JSONValue) -> JSONValue {
        var target = target
        merge(patch, into: &target)
        return target
    }

    private static func merge(_ patch: JSONValue, into target: inout JSONValue) {
        guard case .object(let changes) = patch else {
            target = patch
            return
        }
        if target.object == nil { target = .object(JSONObject()) }
        for (key, change) in changes {
            if change.isNull {
                target[key] = nil
            } else {
                var value = JSONValue.null
                if let old = target[key] {
                    // Taken out, so that the change below finds it with one owner.
                    value = old
                    target[key] = .null
                }
                merge(change, into: &value)
                target[key] = value
            }
        }
    }
}
