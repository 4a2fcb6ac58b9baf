import JSON

/// The verbs that defaults are written with.
extension JSONObject {
    /// Sets an absent member.
    mutating func setDefault(_ key: String, _ value: JSONValue) {
        if self[key] == nil { self[key] = value }
    }

    /// Changes a member that is an object; any other, and an absent one, stays as it is.
    mutating func within(_ key: String, _ change: (inout JSONObject) -> Void) {
        guard case .object(var object)? = self[key] else { return }
        // The member lets go, so that the change does not copy.
        self[key] = .null
        change(&object)
        self[key] = .object(object)
    }

    /// As `within`, of an object that is made if it is absent.
    mutating func ensuring(_ key: String, _ change: (inout JSONObject) -> Void) {
        if self[key] == nil { self[key] = .object(JSONObject()) }
        within(key, change)
    }

    /// Changes each object of a list.
    mutating func each(_ key: String, _ change: (inout JSONObject) -> Void) {
        guard case .array(var elements)? = self[key] else { return }
        self[key] = .null
        for index in elements.indices {
            guard case .object(var object) = elements[index] else { continue }
            elements[index] = .null
            change(&object)
            elements[index] = .object(object)
        }
        self[key] = .array(elements)
    }

    func string(_ key: String) -> String? { self[key]?.string }
}
