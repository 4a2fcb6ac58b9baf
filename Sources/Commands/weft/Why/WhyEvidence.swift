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
        var failures: [String] = []
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
            slices: slices, pods: pods,
            routes: try await session.listIfServed(.httpRoutes)
                + session.listIfServed(.grpcRoutes))
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
            failures = text.split(separator: "\n").dropFirst().map(String.init).filter { $0 != "none" }
        } catch let error as Refusal {
            trouble = error.reason
        } catch { trouble = "\(error)" }
    }
}

/// Where the way goes: a Service's port, or a pod's.
struct WhyDestination: Sendable, CustomStringConvertible {
    var service: KubeObject?
    var pod: KubeObject?
    /// As it is asked for: the Service's, or the pod's.
    var port: Int64
    /// Of a Service: the port's entry.
    var portSpec: JSONValue = .null

    var description: String { "\((service ?? pod)?.key ?? ObjectKey(name: "")):\(port)" }

    init(_ text: String, namespace: String, fallback: String, services: [KubeObject], pods: [KubeObject]) throws {
        var name = text
        var portText: String?
        if let colon = text.lastIndex(of: ":") {
            portText = String(text[text.index(after: colon)...])
            name = String(text[..<colon])
        }
        // A DNS name of the cluster, as programs write it.
        let parts = name.split(separator: ".")
        if !name.contains("/"), parts.count >= 3, parts[2] == "svc" { name = "\(parts[1])/service/\(parts[0])" }
        let wanted = try WorkloadName(name, namespace: fallback)
        let isService = wanted.kind == nil || wanted.kind == .service
        if isService, let found = services.first(where: { $0.namespace == wanted.namespace && $0.name == wanted.name })
        {
            service = found
            let ports = found.spec.list("ports")
            let chosen =
                portText == nil
                ? (ports.count == 1 ? ports.first : nil)
                : ports.first { $0["port"]?.int == portText.flatMap { Int64($0) } || $0.text("name") == portText }
            guard let chosen, let number = chosen["port"]?.int else {
                let known = ports.compactMap { $0["port"]?.int.map { "\($0)" } }.joined(separator: ", ")
                throw Refusal(
                    portText.map { "Service \(found.key) has no port \($0)" } ?? "which port of Service \(found.key)?",
                    hint: "it has \(known)")
            }
            (port, portSpec) = (number, chosen)
            return
        }
        guard let pod = wanted.pods(pods, replicaSets: [], services: services).first else {
            let near = services.filter { $0.namespace == wanted.namespace }.map(\.name).joined(separator: ", ")
            throw Refusal(
                "there is neither a Service nor a pod \(wanted.description)",
                hint: near.isEmpty ? "namespace \(wanted.namespace) has no Services" : "Services there: \(near)")
        }
        self.pod = pod
        let ports = pod.spec.list("containers").flatMap { $0.list("ports") }
        let number =
            portText.flatMap { Int64($0) }
            ?? ports.first { portText == nil || $0.text("name") == portText }?[
                "containerPort"]?.int
        guard let number else {
            throw Refusal("which port of pod \(pod.key)?", hint: "\(pod.name):PORT says which")
        }
        port = number
    }

    /// The pods behind it by EndpointSlices, those that are ready first.
    func servers(_ slices: [KubeObject], _ pods: [KubeObject]) -> [KubeObject] {
        if let pod { return [pod] }
        guard let service else { return [] }
        let found = endpoints(slices).compactMap { endpoint in
            pods.first { $0.namespace == service.namespace && $0.name == endpoint.pod }
        }
        return found.filter { $0.isReady } + found.filter { !$0.isReady }
    }

    struct Endpoint: Hashable {
        var address: String
        var pod: String
        var isReady: Bool
        var isServing: Bool
        var isTerminating: Bool
        var port: Int64
    }

    func endpoints(_ slices: [KubeObject]) -> [Endpoint] {
        guard let service else { return [] }
        let name = portSpec.text("name")
        return slices.filter {
            $0.namespace == service.namespace && $0.label("kubernetes.io/service-name") == service.name
        }.flatMap { slice -> [Endpoint] in
            guard let port = slice.json.list("ports").first(where: { $0.text("name") == name })?["port"]?.int else {
                return []
            }
            return slice.json.list("endpoints").flatMap { endpoint in
                endpoint.list("addresses").compactMap(\.string).prefix(1).map { address in
                    let conditions = endpoint["conditions"]
                    let isReady = conditions?["ready"]?.bool ?? true
                    return Endpoint(
                        address: address, pod: endpoint.text("targetRef", "name"), isReady: isReady,
                        isServing: conditions?["serving"]?.bool ?? isReady,
                        isTerminating: conditions?["terminating"]?.bool ?? false, port: port)
                }
            }
        }
    }
}
