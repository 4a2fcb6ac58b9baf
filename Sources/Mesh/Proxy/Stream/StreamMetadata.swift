import JSON

/// What filters say about a request, by their name: Envoy's dynamic metadata. Rare, so a class that exists only where one
/// does.
package final class StreamMetadata {
    package var values: [String: JSONObject] = [:]
    package init() {}
}
