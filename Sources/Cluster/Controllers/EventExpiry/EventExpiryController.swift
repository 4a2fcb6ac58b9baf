import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Deletes Events some time after they last happened, so that they do not pile up.
///
/// Upstream leaves this to a lease of etcd's; here the store keeps what it has until somebody deletes it.
final class EventExpiryController: Controller {
    let name = "event-expiry-controller"
    private let context: ControllerContext

    static let period: Duration = .seconds(60)
    /// Seconds that an Event is kept, as kube-apiserver's `--event-ttl`.
    static let lifetime: Int64 = 3600
    /// Events read at a time, so that many cost little memory.
    static let pageSize = 500

    init(_ context: ControllerContext) { self.context = context }

    func run() async {
        while !Task.isCancelled {
            try? await EventLoop.sleep(for: Self.period)
            do {
                try await sweep()
            } catch {
                context.log.debug("events not swept, will try again", ["error": "\(error)"])
            }
        }
    }

    /// One pass over all events, page by page.
    func sweep() async throws {
        var token: String?
        repeat {
            var parameters = [(name: "limit", value: String(Self.pageSize))]
            if let token { parameters.append(("continue", token)) }
            let page = KubeList(
                json: try await context.client.transport.send(APIRequest(.list, .events, parameters: parameters)))
            for event in page.items where isExpired(event, lifetime: Self.lifetime, now: context.now()) {
                do {
                    try await context.client.delete(
                        .events, event.key, uid: event.uid, resourceVersion: event.resourceVersion)
                } catch let error as StatusError where error.code == 404 || error.code == 409 {
                    // Gone already, or it has just happened again.
                }
            }
            token = page.continueToken
        } while token != nil
    }
}

/// Whether an Event last happened longer ago than `lifetime` seconds. Pure.
func isExpired(_ event: KubeObject, lifetime: Int64, now: Timestamp) -> Bool {
    let times = [
        event.json[path: "series", "lastObservedTime"]?.string, event.json["lastTimestamp"]?.string,
        event.json["eventTime"]?.string, event.creationTimestamp,
    ]
    guard let last = times.compactMap({ $0.flatMap { Timestamp(rfc3339: $0) } }).max() else { return false }
    return last.seconds + lifetime <= now.seconds
}
