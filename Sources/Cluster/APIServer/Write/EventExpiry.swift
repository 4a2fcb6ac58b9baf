import Bytes
import ClusterAPI
import JSON

/// Events are news: they are removed an hour after they last happened, or they would fill the store.
extension Registry {
    /// Seconds that an event is kept.
    static let eventLife: Int64 = 3600

    /// Removes events that last happened before `cutoff`.
    func expireEvents(before cutoff: Timestamp) async throws(StatusError) {
        guard let events = schema.resource(.events) else { return }
        for event in try await storage.all(events) {
            guard let metadata = event["metadata"], Self.lastHappened(event) < cutoff,
                let version = metadata["resourceVersion"]?.string.flatMap({ Int64($0) })
            else { continue }
            let key = ObjectKey(namespace: metadata["namespace"]?.string ?? "", name: metadata["name"]?.string ?? "")
            // One that happened again meanwhile has another revision and stays.
            _ = try await storage.delete(events, key, read: .init(rawValue: version))
        }
    }

    private static func lastHappened(_ event: JSONValue) -> Timestamp {
        let times = [
            event["series"]?["lastObservedTime"], event["lastTimestamp"], event["eventTime"],
            event["metadata"]?["creationTimestamp"],
        ]
        return times.compactMap { $0?.string.flatMap { Timestamp(rfc3339: $0) } }.max() ?? .epoch
    }
}
