import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Gives every node a block of pod addresses of each family, once.
final class NodeIPAMController: Controller {
    let name = "node-ipam-controller"
    private let context: ControllerContext
    private let config: ControllersConfig
    private let nodes: Informer<KubeObject>
    private let queue: WorkQueue<ObjectKey>
    private let recorder: EventRecorder

    init(_ context: ControllerContext, _ config: ControllersConfig) {
        self.context = context
        self.config = config
        let nodes = context.informers[.nodes]
        self.nodes = nodes
        recorder = context.recorder("cidrAllocator")
        let queue = WorkQueue<ObjectKey>(loop: context.loop)
        self.queue = queue
        nodes.onEvent { event in
            switch event {
            case .added(let key, let node), .updated(let key, _, let node):
                if node.spec["podCIDR"] == nil { queue.add(key) }
            case .deleted:
                // A block came free: nodes that found none may have it.
                for node in nodes.list() where node.spec["podCIDR"] == nil { queue.add(node.key) }
            case .synced: break
            }
        }
    }

    // One worker: two nodes must not be given the same block.
    func run() async { await reconcile(name, queue, workers: 1, log: context.log, sync) }

    private func sync(_ key: ObjectKey) async throws -> ReconcileResult {
        guard let node = nodes.get(key), node.spec["podCIDR"] == nil, !node.isTerminating else { return .done }
        // The informer may be behind our own last write, so the blocks in use are read live.
        let all = try await context.client.list(.nodes).items
        guard let live = all.first(where: { $0.name == key.name }), live.spec["podCIDR"] == nil else { return .done }
        let taken = Set(all.flatMap { $0.spec["podCIDRs"]?.array?.compactMap(\.string) ?? [] })
        var blocks: [JSONValue] = []
        for cluster in config.clusterCIDRs {
            let mask = cluster.address.family == .v4 ? config.nodeMaskV4 : config.nodeMaskV6
            guard let block = freeBlock(of: cluster, prefixLength: mask, taken: taken) else {
                recorder.warning(live, "CIDRNotAvailable", "Node \(key.name) status is now: CIDRNotAvailable")
                throw ControllerError("no free block of /\(mask) is left in \(cluster)")
            }
            blocks.append(.string(block.description))
        }
        try await context.client.patch(
            .nodes, key, .merge,
            [
                "metadata": ["resourceVersion": .string(live.resourceVersion)],
                "spec": ["podCIDR": blocks[0], "podCIDRs": .array(blocks)],
            ])
        return .done
    }
}

/// The first block of a prefix length that is not taken; nil when all are. Pure.
func freeBlock(of cluster: CIDR, prefixLength: UInt8, taken: Set<String>) -> CIDR? {
    let hostBits = (cluster.address.family == .v4 ? 32 : 128) - Int(prefixLength)
    guard prefixLength >= cluster.prefixLength, hostBits >= 0 else { return nil }
    let free = Int(prefixLength - cluster.prefixLength)
    // Beyond 2^16 blocks nobody looks: that is more nodes than a cluster has.
    for index in 0..<(1 << min(free, 16)) {
        guard let address = cluster.network.address.adding(UInt64(index), shiftedLeft: hostBits),
            let block = CIDR("\(address)/\(prefixLength)")
        else { return nil }
        if !taken.contains(block.description) { return block }
    }
    return nil
}

extension IPAddress {
    /// This address plus `n` × 2^`bits`; nil beyond the family's range.
    fileprivate func adding(_ n: UInt64, shiftedLeft bits: Int) -> IPAddress? {
        var bytes = withBytes { Array($0) }
        // The part of the shift that is not whole bytes goes into the number, the rest into where it is added.
        var carry = n << UInt64(bits % 8)
        var index = bytes.count - 1 - bits / 8
        while carry > 0 {
            guard index >= 0 else { return nil }
            carry += UInt64(bytes[index])
            bytes[index] = UInt8(truncatingIfNeeded: carry)
            carry >>= 8
            index -= 1
        }
        return bytes.withUnsafeBytes { IPAddress(bytes: $0) }
    }
}
