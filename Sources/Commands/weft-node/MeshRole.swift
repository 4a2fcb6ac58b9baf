import ClusterAPI
import ClusterClient
import JSON
import MeshNode
import Reactor
import Telemetry

/// The mesh's part of a node that runs pods: their sockets, keys and certificates.
struct MeshRole: Sendable {
    let workloads: MeshWorkloads

    /// Nil where the node cannot prove to the mesh's authority who it is; everything else of it works.
    init?(_ options: NodeOptions, events: EventRecorder, metrics: MetricsRegistry, log: Log) throws {
        do {
            var configuration = try MeshNodeConfiguration(
                options.kubeConfig, address: options.meshAddress, recordDirectory: options.runDirectory + "/mesh")
            configuration.trustDomain = options.clusterDomain
            // Certificates must not wait for what else the node does.
            workloads = try MeshWorkloads(
                configuration, on: EventLoopGroup(count: 1, name: "mesh"), metrics: metrics, log: log
            ) { pod, news in Self.record(news, of: pod, events) }
        } catch let error as MeshNodeConfiguration.Invalid {
            log.warning("pods cannot be in the mesh on this node", ["why": "\(error)"])
            return nil
        }
    }

    /// What `kubectl describe pod` shows.
    private static func record(_ news: WorkloadNews, of pod: MeshPod, _ events: EventRecorder) {
        var object = KubeObject(apiVersion: "v1", kind: "Pod", namespace: pod.namespace, name: pod.name)
        object.json["metadata"]?["uid"] = .string(pod.uid)
        switch news {
        case .waits(let why):
            events.warning(
                object, "MeshCertificateMissing",
                "the pod's proxy waits for its certificate, which is asked for again: \(why)")
        case .expired(let why):
            events.warning(
                object, "MeshCertificateExpired",
                "others refuse the pod's certificate, which is over, and there is no new one: \(why)")
        case .served: events.normal(object, "MeshCertificateIssued", "the pod has its certificate")
        }
    }

    /// Follows what the mesh trusts, until cancelled.
    func run() async { await workloads.run() }
}
