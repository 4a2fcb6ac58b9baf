import MeshNode
import Reactor
import Telemetry

/// The mesh's part of a node that runs pods: their sockets, keys and certificates.
struct MeshRole: Sendable {
    let workloads: MeshWorkloads

    /// Nil where the node cannot prove to the mesh's authority who it is; everything else of it works.
    init?(_ options: NodeOptions, metrics: MetricsRegistry, log: Log) throws {
        do {
            var configuration = try MeshNodeConfiguration(
                options.kubeConfig, address: options.meshAddress, recordDirectory: options.runDirectory + "/mesh")
            configuration.trustDomain = options.clusterDomain
            // Certificates must not wait for what else the node does.
            workloads = try MeshWorkloads(
                configuration, on: EventLoopGroup(count: 1, name: "mesh"), metrics: metrics, log: log)
        } catch let error as MeshNodeConfiguration.Invalid {
            log.warning("pods cannot be in the mesh on this node", ["why": "\(error)"])
            return nil
        }
    }

    /// Follows what the mesh trusts, until cancelled.
    func run() async { await workloads.run() }
}
