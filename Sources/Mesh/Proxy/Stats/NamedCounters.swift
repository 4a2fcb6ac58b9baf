/// A worker's counters of clusters whose names are not known beforehand, as those of gRPC methods: by cluster and by what stands
/// behind `cluster.NAME.`
package struct NamedCounters {
    /// Names of one cluster at most; what comes beyond is not counted. Requests choose names, so there must be an end.
    package static let limit = 4096

    package private(set) var values: [ClusterID: [String: UInt64]] = [:]

    mutating func add(_ count: UInt64, _ leaf: String, of cluster: ClusterID) {
        guard values[cluster, default: [:]][leaf] != nil || values[cluster, default: [:]].count < Self.limit else {
            return
        }
        values[cluster, default: [:]][leaf, default: 0] &+= count
    }
}

extension HTTPStream {
    /// The cluster that the request goes, or would go, to.
    var clusterID: ClusterID? {
        if let cluster { return cluster.snapshot.id }
        guard case .forward(let action)? = route?.action else { return nil }
        return clusterID(action.choice)
    }

    /// Counts something of the request's cluster.
    func countForCluster(_ leaf: String, _ count: UInt64 = 1) {
        if count > 0, let clusterID { worker.namedCounters.add(count, leaf, of: clusterID) }
    }
}
