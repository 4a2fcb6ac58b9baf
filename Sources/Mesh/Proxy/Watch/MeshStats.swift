import Bytes

/// One worker's counts of requests and connections by who asked whom: Istio's `istio_requests_total`, `istio_request_…`,
/// `istio_response_bytes` and `istio_tcp_…`.
///
/// A series is found by numbers: connections and hosts know theirs, so a request costs one look-up. Bounded: of `seriesLimit` series
/// all that comes further is counted in series whose ends are called `other`; what was not counted for `life` is told no more.
final class MeshStats {
    /// Series of one worker. With 24 labels each they are some 2 MB of text when they are told.
    static let seriesLimit = 2000
    /// Identities and destinations that have a number. Beyond: `other`.
    static let namesLimit = 4096
    /// Nanoseconds after which a series that is not counted goes, at the next scrape.
    static let life: UInt64 = 3_600_000_000_000

    /// Who asks whom, and how.
    struct Ends: Hashable {
        var side: TrafficSide
        var isMutual = false
        var flags: UInt64 = 0
        /// Of `peers`: the client of what comes in, the server of what goes out.
        var other: UInt32 = 0
        var service: UInt32 = 0

        /// Of nobody in particular: a few dozen at most.
        var withoutNames: Ends { Ends(side: side, isMutual: isMutual, other: 1, service: 1) }
    }

    struct Key: Hashable {
        var ends: Ends
        var isGRPC: Bool
        /// -1 for none.
        var grpcStatus: Int16
        var status: UInt16
    }

    /// What a histogram tells: times in milliseconds, or bytes.
    struct Distribution {
        var sum: Double = 0
        /// By bucket, the last for what is above all bounds.
        var buckets = InlineArray<20, UInt32>(repeating: 0)
    }

    struct Requests {
        var count: UInt64 = 0
        var times = Distribution()
        var received = Distribution()
        var sent = Distribution()
        var usedAt: UInt64 = 0
    }

    /// Number 0 is unknown, 1 is `other`.
    private struct Names<Name: Hashable> {
        private(set) var all: [Name]
        private var numbers: [Name: UInt32] = [:]

        init(unknown: Name, other: Name) { all = [unknown, other] }

        mutating func number(_ name: Name) -> UInt32 {
            if name == all[0] { return 0 }
            if let known = numbers[name] { return known }
            guard all.count < MeshStats.namesLimit else { return 1 }
            let number = UInt32(all.count)
            numbers[name] = number
            all.append(name)
            return number
        }
    }

    let own: WorkloadLabels
    private var peers = Names(unknown: WorkloadLabels(), other: MeshStats.otherWorkload)
    private var services = Names(unknown: ServiceLabels(), other: MeshStats.otherService)
    private(set) var requests: [Key: Requests] = [:]
    var connections: [Ends: Connections] = [:]
    /// Those that are relayed now, with what is counted of them.
    var live: [ObjectIdentifier: LiveConnection] = [:]
    /// Requests and connections that were counted as `other` for want of room.
    var overflowed: UInt64 = 0

    static let other = "other"
    private static let otherWorkload: WorkloadLabels = {
        var labels = WorkloadLabels()
        (labels.workload, labels.namespace, labels.principal, labels.app, labels.version) = (
            other, other, other, other, other
        )
        return labels
    }()
    private static let otherService: ServiceLabels = {
        var labels = ServiceLabels()
        (labels.host, labels.name, labels.namespace) = (other, other, other)
        return labels
    }()

    init(own: WorkloadLabels) { self.own = own }

    // MARK: Numbers, found once for each connection and host

    func number(ofPeer principal: String?) -> UInt32 {
        principal.map { peers.number(WorkloadLabels(principal: $0)) } ?? 0
    }

    func number(ofHost workload: String) -> UInt32 {
        workload.isEmpty ? 0 : peers.number(WorkloadLabels(endpoint: workload))
    }

    func number(of cluster: ClusterSettings) -> UInt32 { services.number(ServiceLabels(cluster: cluster)) }

    // MARK: Counting

    func count(_ stream: HTTPStream) {
        // What no listener of an application's brought: health checks, the proxy's own pages.
        guard stream.connection?.listener != nil, !stream.isHealthCheck else { return }
        var ends = Ends(
            side: TrafficSide(stream.connection), flags: stream.responseFlags.rawValue,
            service: stream.cluster?.watchNumber ?? 0)
        switch ends.side {
        case .inbound:
            guard let connection = stream.connection else { return }
            ends.other = peer(of: connection)
            ends.isMutual = ends.other != 0
        case .outbound:
            ends.other = stream.upstream.watchNumber
            ends.isMutual = stream.upstream.tls != nil
        }
        let isGRPC = stream.isGRPC
        add(
            Key(
                ends: ends, isGRPC: isGRPC, grpcStatus: isGRPC ? stream.grpcStatusNumber ?? -1 : -1,
                status: UInt16(clamping: stream.response.status)),
            milliseconds: Double(stream.worker.now &- stream.began) / 1e6, received: stream.requestBytes,
            sent: stream.responseBytes, at: stream.worker.now)
    }

    func peer(of connection: ProxyConnection) -> UInt32 {
        if let known = connection.watchNumber { return known }
        let certificate = connection.tlsSession?.peerCertificate
        let number = number(ofPeer: certificate?.alternativeNames.uris.first)
        connection.watchNumber = number
        return number
    }

    func add(_ key: Key, milliseconds: Double, received: UInt64 = 0, sent: UInt64 = 0, at now: UInt64) {
        var key = key
        if requests[key] == nil, requests.count >= Self.seriesLimit {
            overflowed &+= 1
            key = Key(
                ends: key.ends.withoutNames, isGRPC: key.isGRPC, grpcStatus: -1, status: key.status / 100 * 100)
        }
        requests[key, default: Requests()].count(milliseconds, received, sent, now)
    }

    // MARK: Telling

    /// By their labels as text.
    struct Told {
        var requests: [String: Requests] = [:]
        var connections: [String: Connections] = [:]
        var overflowed: UInt64 = 0

        mutating func add(_ other: Told) {
            for (labels, values) in other.requests { requests[labels, default: Requests()].add(values) }
            for (labels, values) in other.connections { connections[labels, default: Connections()].add(values) }
            overflowed &+= other.overflowed
        }
    }

    /// What nobody has used for long is forgotten.
    func tell(now: UInt64) -> Told {
        for session in live.keys { countBytes(of: session, at: now) }
        requests = requests.filter { now &- $0.value.usedAt < Self.life }
        connections = connections.filter { $0.value.hasLive || now &- $0.value.usedAt < Self.life }
        var told = Told(overflowed: overflowed)
        for (key, values) in requests { told.requests[labels(key), default: Requests()].add(values) }
        for (ends, values) in connections { told.connections[labels(ends, "tcp"), default: Connections()].add(values) }
        return told
    }

    private func labels(_ key: Key) -> String {
        labels(
            key.ends, key.isGRPC ? "grpc" : "http",
            [
                ("response_code", "\(key.status)"),
                ("grpc_response_status", key.grpcStatus < 0 ? "" : "\(key.grpcStatus)"),
            ])
    }

    private func labels(_ ends: Ends, _ spoken: String, _ outcome: [(String, String)] = []) -> String {
        let other = peers.all[Int(ends.other)]
        let (source, destination) = ends.side == .inbound ? (other, own) : (own, other)
        var pairs: [(String, String)] = [("reporter", ends.side == .inbound ? "destination" : "source")]
        pairs += source.pairs("source") + destination.pairs("destination")
        pairs += services.all[Int(ends.service)].pairs
        let flags = ResponseFlags.names.enumerated().filter { ends.flags & 1 << UInt64($0.offset) != 0 }
            .map { "\($0.element.short)" }.joined(separator: ",")
        pairs.append(("request_protocol", spoken))
        pairs += outcome
        pairs += [
            ("response_flags", flags.isEmpty ? "-" : flags),
            (
                "connection_security_policy",
                ends.side == .outbound ? WorkloadLabels.unknown : ends.isMutual ? "mutual_tls" : "none"
            ),
        ]
        return pairs.map { "\($0.0)=\"\(PrometheusText.escaped($0.1))\"" }.joined(separator: ",")
    }
}

extension MeshStats.Distribution {
    mutating func count(_ value: Double) {
        sum += value
        buckets[Self.bucket(value)] &+= 1
    }

    mutating func add(_ other: Self) {
        sum += other.sum
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
    }

    private static func bucket(_ value: Double) -> Int {
        // Few requests take longer than the first bounds.
        for (index, bound) in HistogramSnapshot.bounds.enumerated() where value <= bound { return index }
        return HistogramSnapshot.bounds.count
    }
}

extension MeshStats.Requests {
    mutating func count(_ milliseconds: Double, _ bytesReceived: UInt64, _ bytesSent: UInt64, _ now: UInt64) {
        count &+= 1
        times.count(milliseconds)
        received.count(Double(bytesReceived))
        sent.count(Double(bytesSent))
        usedAt = now
    }

    mutating func add(_ other: Self) {
        count &+= other.count
        times.add(other.times)
        received.add(other.received)
        sent.add(other.sent)
        usedAt = max(usedAt, other.usedAt)
    }
}

extension HTTPStream {
    /// Of the trailers, or of a head that is all there is.
    fileprivate var grpcStatusNumber: Int16? {
        guard let text = trailers?.value(.grpcStatus) ?? response.value(.grpcStatus) else { return nil }
        var number: Int16 = 0
        for byte in text {
            guard (0x30...0x39).contains(byte), number < 1000 else { return nil }
            number = number * 10 + Int16(byte - 0x30)
        }
        return text.isEmpty ? nil : number
    }
}
