import JSON

/// What filters say about a request, by their name: Envoy's dynamic metadata, and its filter state. Rare, so a class that
/// exists only where one does.
package final class StreamMetadata {
    package var values: [String: JSONObject] = [:]
    /// Filter state by key, as it serialises.
    package var state: [String: [UInt8]] = [:]
    package init() {}

    /// A value; nil for what is not there.
    func json(_ namespace: String, _ path: [String]) -> JSONValue? {
        guard let object = values[namespace] else { return nil }
        var value = JSONValue.object(object)
        for step in path {
            guard let next = value[step], next != .null else { return nil }
            value = next
        }
        return value
    }

    /// A value as text: strings as they are, everything else as JSON; nil for what is not there.
    func text(_ namespace: String, _ path: [String]) -> String? {
        guard let value = json(namespace, path) else { return nil }
        if case .string(let text) = value { return text }
        return value.encodedString()
    }
}

extension HTTPStream {
    /// The metadata, made where there was none.
    var ownMetadata: StreamMetadata {
        if let metadata { return metadata }
        let made = StreamMetadata()
        metadata = made
        return made
    }
}
