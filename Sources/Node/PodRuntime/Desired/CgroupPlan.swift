/// Where a pod's processes stand in the cgroup tree and what they may take; the arithmetic is the kubelet's.
public enum CgroupPlan {
    /// `/kubepods/burstable/pod<uid>`, as the kubelet's cgroupfs driver names it. Guaranteed pods stand right under kubepods.
    public static func podPath(_ pod: PodSpec, root: String = "/") -> String {
        let base = root == "/" ? "/kubepods" : root + "/kubepods"
        return switch pod.qualityOfService {
        case .guaranteed: "\(base)/pod\(pod.identity.uid)"
        case .burstable: "\(base)/burstable/pod\(pod.identity.uid)"
        case .bestEffort: "\(base)/besteffort/pod\(pod.identity.uid)"
        }
    }

    /// The kernel's smallest share.
    static let minimumShares: Int64 = 2
    static let maximumShares: Int64 = 262_144
    /// Microseconds over which a CPU quota is counted.
    static let quotaPeriod: Int64 = 100_000
    /// The kernel takes no smaller quota.
    static let minimumQuota: Int64 = 1000

    static func shares(milliCPU: Int64) -> Int64 {
        if milliCPU <= 0 { return minimumShares }
        return min(
            maximumShares, max(minimumShares, milliCPU.multipliedReportingOverflow(by: 1024).partialValue / 1000))
    }

    /// Microseconds a period; nil for no limit.
    static func quota(milliCPU: Int64?) -> Int64? {
        guard let milliCPU, milliCPU > 0, milliCPU < 1_000_000_000 else { return nil }
        return max(minimumQuota, milliCPU * quotaPeriod / 1000)
    }

    /// Who is killed first when memory runs out: −997 (never ours) … 1000 (first). Burstable containers come the later, the
    /// larger the share of the node that they asked for.
    static func oomScoreAdjust(_ pod: PodSpec, _ container: ContainerSpec, nodeMemory: UInt64) -> Int64 {
        if pod.priorityClassName == "system-node-critical" { return -997 }
        switch pod.qualityOfService {
        case .guaranteed: return -997
        case .bestEffort: return 1000
        case .burstable:
            let requested = Double(container.resources.requests.memory ?? 0)
            let share = nodeMemory > 0 ? requested * 1000 / Double(nodeMemory) : 0
            return min(999, max(3, 1000 - Int64(min(share, 1000))))
        }
    }
}
