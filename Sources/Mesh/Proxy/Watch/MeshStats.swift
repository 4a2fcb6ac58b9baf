import Bytes

/// One worker's counts of requests by who asked whom: Istio's `istio_requests_total` and `istio_request_duration_milliseconds`.
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

    struct Key: Hashable {
        var side: TrafficSide
        var isGRPC: Bool
        var isMutual: Bool
        /// -1 for none.
        var grpcStatus: Int16
        var status: UInt16
        var flags: UInt64
        /// Of `peers` for what comes in, of `places` for what goes out.
        var other: UInt32
        var service: UInt32
    }

    struct Series {
        var count: UInt64 = 0
        /// Milliseconds.
        var sum: Double = 0
        /// By bucket, the last for what is above all bounds.
        var buckets = InlineArray<20, UInt32>(repeating: 0)
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
    private(set) var series: [Key: Series] = [:]
    /// Requests that were counted as `other` for want of room.
    private(set) var overflowed: UInt64 = 0

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
        let side = TrafficSide(stream)
        let isGRPC = stream.isGRPC
        var key = Key(
            side: side, isGRPC: isGRPC, isMutual: false, grpcStatus: -1,
            status: UInt16(clamping: stream.response.status),
            flags: stream.responseFlags.rawValue, other: 0, service: stream.cluster?.watchNumber ?? 0)
        if isGRPC, let status = stream.grpcStatusNumber { key.grpcStatus = status }
        switch side {
        case .inbound:
            guard let connection = stream.connection else { return }
            key.other = peer(of: connection)
            key.isMutual = key.other != 0
        case .outbound:
            key.other = stream.upstream.watchNumber
            key.isMutual = stream.upstream.tls != nil
        }
        add(key, milliseconds: Double(stream.worker.now &- stream.began) / 1e6, at: stream.worker.now)
    }

    private func peer(of connection: ProxyConnection) -> UInt32 {
        if let known = connection.watchNumber { return known }
        let certificate = connection.tlsSession?.peerCertificate
        let number = number(ofPeer: certificate?.alternativeNames.uris.first)
        connection.watchNumber = number
        return number
    }

    func add(_ key: Key, milliseconds: Double, at now: UInt64) {
        var key = key
        if series[key] == nil, series.count >= Self.seriesLimit {
            overflowed &+= 1
            // Statuses and flags of nobody in particular: a few dozen series at most.
            (key.other, key.service, key.flags, key.grpcStatus) = (1, 1, 0, -1)
            key.status = key.status / 100 * 100
        }
        let bucket = Self.bucket(milliseconds)
        series[key, default: Series()].count(bucket, milliseconds, now)
    }

    private static func bucket(_ milliseconds: Double) -> Int {
        // Few requests take longer than the first bounds.
        for (index, bound) in HistogramSnapshot.bounds.enumerated() where milliseconds <= bound { return index }
        return HistogramSnapshot.bounds.count
    }

    // MARK: Telling

    /// By their labels as text; what nobody has used for long is forgotten.
    func tell(now: UInt64) -> [String: Series] {
        series = series.filter { now &- $0.value.usedAt < Self.life }
        var told: [String: Series] = [:]
        for (key, values) in series { told[labels(key), default: Series()].add(values) }
        return told
    }

    func labels(_ key: Key) -> String {
        let other = peers.all[Int(key.other)]
        let (source, destination) = key.side == .inbound ? (other, own) : (own, other)
        var pairs: [(String, String)] = [("reporter", key.side == .inbound ? "destination" : "source")]
        pairs += source.pairs("source") + destination.pairs("destination")
        pairs += services.all[Int(key.service)].pairs
        let flags = ResponseFlags.names.enumerated().filter { key.flags & 1 << UInt64($0.offset) != 0 }
            .map { "\($0.element.short)" }.joined(separator: ",")
        pairs += [
            ("request_protocol", key.isGRPC ? "grpc" : "http"), ("response_code", "\(key.status)"),
            ("grpc_response_status", key.grpcStatus < 0 ? "" : "\(key.grpcStatus)"),
            ("response_flags", flags.isEmpty ? "-" : flags),
            (
                "connection_security_policy",
                key.side == .outbound ? WorkloadLabels.unknown : key.isMutual ? "mutual_tls" : "none"
            ),
        ]
        return pairs.map { "\($0.0)=\"\(PrometheusText.escaped($0.1))\"" }.joined(separator: ",")
    }
}

extension MeshStats.Series {
    mutating func count(_ bucket: Int, _ milliseconds: Double, _ now: UInt64) {
        count &+= 1
        sum += milliseconds
        buckets[bucket] &+= 1
        usedAt = now
    }

    mutating func add(_ other: Self) {
        count &+= other.count
        sum += other.sum
        usedAt = max(usedAt, other.usedAt)
        for index in 0..<20 { buckets[index] &+= other.buckets[index] }
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
