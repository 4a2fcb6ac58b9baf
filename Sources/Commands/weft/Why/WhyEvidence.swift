import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Policy
import ServiceProxy

/// All that is known of a way, read once; `WhyEvidence+Cluster` and `+Mesh` say what follows from it, and read nothing.
struct WhyEvidence: Sendable {
    var source: KubeObject
    var destination: WhyDestination
    /// The pods behind the destination, those that are ready first; of a Service without a selector none.
    var servers: [KubeObject]

    var policies: PolicyCluster
    var trace: TraceObjects
    var services: [KubeObject]
    var slices: [KubeObject]
    var pods: [KubeObject]
    var routes: [KubeObject]
    /// Policies of the mesh that do not do what they say.
    var remarks: [MeshPolicyRemark] = []

    /// Kinds that there may be some of, which the asker has no right to list.
    var hidden: [String] = []

    /// What the control plane says of the mesh; nil where there is none.
    var proxies: [JSONValue]?
    /// How a server may be reached, by the control plane; of the first server that it knows.
    var workload: JSONValue?
    var sourceProxy: ProxyEvidence?
    var serverProxy: ProxyEvidence?

    /// What a pod's proxy says itself.
    struct ProxyEvidence: Sendable {
        var pod: ObjectKey
        var tables: ProxyTables?
        /// Of `/explain?failed`.
        var failures: [FailedRequest] = []
        /// Why it could not be asked.
        var trouble: String?
    }

    static func gather(from: String, to: String, _ session: ClusterSession) async throws -> WhyEvidence {
        let client = session.client
        let source = try await session.pods(named: from)[0]
        let pods = try await client.list(.pods).items
        let services = try await client.list(.services).items
        let slices = try await client.list(.endpointSlices).items
        let destination = try WhyDestination(
            to, namespace: source.namespace == "" ? session.namespace : source.namespace,
            fallback: session.namespace, services: services, pods: pods)
        var evidence = WhyEvidence(
            source: source, destination: destination, servers: destination.servers(slices, pods),
            policies: try await session.policies(), trace: try await TraceObjects.read(client), services: services,
            slices: slices, pods: pods, routes: [])
        for resource in [GroupVersionResource.httpRoutes, .grpcRoutes] {
            do { evidence.routes += try await session.listIfServed(resource) } catch let error as StatusError
                where error.code == 403
            { evidence.hidden.append(resource.resource) }
        }
        evidence.remarks = try await session.meshPolicyRemarks()
        evidence.proxies = try? await session.transport.document("/mesh/proxies").list("proxies")
        let meshed = evidence.servers.first { $0.isMeshed }
        if let server = meshed ?? evidence.servers.first, evidence.proxies != nil {
            evidence.workload = try? await session.transport.document(
                "/mesh/workloads/\(server.namespace)/\(server.name)")
        }
        if source.isMeshed { evidence.sourceProxy = await ProxyEvidence(source, session) }
        if let meshed { evidence.serverProxy = await ProxyEvidence(meshed, session) }
        return evidence
    }
}

extension WhyEvidence.ProxyEvidence {
    init(_ pod: KubeObject, _ session: ClusterSession) async {
        self.pod = pod.key
        do {
            let admin = try ProxyAdmin(pod, session)
            tables = ProxyTables(
                dump: try await admin.json("/config_dump?include_eds"),
                clusters: try await admin.json("/clusters?format=json"), certificates: .null)
            // A real Envoy has no such page.
            let text = (try? await admin.text("GET", "/explain?failed&count=50")) ?? ""
            failures = text.split(separator: "\n").dropFirst().compactMap { FailedRequest(String($0)) }
        } catch let error as Refusal {
            trouble = error.reason
        } catch { trouble = "\(error)" }
    }
}
