import Bytes
import ClusterAPI
import MeshAPI

/// A line of a proxy's `/explain?failed`: when, status, flags, details, method, host with path, ID.
struct FailedRequest: Sendable {
    let line: String
    /// As it was asked for, without its port.
    let host: String
    /// Nil where the proxy tells no time.
    let time: Timestamp?

    /// - Returns: nil for a line that tells of no request.
    init?(_ line: String) {
        let words = line.split(separator: " ")
        guard words.count >= 6 else { return nil }
        let place = words[words.count - 2]
        let authority = place[..<(place.firstIndex(of: "/") ?? place.endIndex)]
        // The sidecar's own pages, which probes ask for: another make of proxy may tell of them.
        guard !authority.hasSuffix(":\(MeshPort.health)"), !authority.hasSuffix(":\(MeshPort.metrics)") else {
            return nil
        }
        var host = authority
        if let end = host.lastIndex(of: "]") {
            host = host[..<end].dropFirst()
        } else if let colon = host.firstIndex(of: ":") {
            host = host[..<colon]
        }
        self.line = line
        self.host = String(host)
        time = Timestamp(rfc3339: String(words[0]))
    }

    /// Whether it was for the Service, by any form of its name, or for one of its addresses.
    func isFor(_ destination: WhyDestination, _ servers: [KubeObject]) -> Bool {
        if let address = destination.address { return host == "\(address)" }
        let addresses =
            (destination.service?.spec.list("clusterIPs") ?? []).compactMap(\.string)
            + servers.map { $0.status.text("podIP") }
        if addresses.contains(host) { return true }
        guard let service = destination.service else { return false }
        let labels = host.split(separator: ".")
        return labels.first.map(String.init) == service.name
            && (labels.count == 1 || String(labels[1]) == service.namespace)
    }
}
