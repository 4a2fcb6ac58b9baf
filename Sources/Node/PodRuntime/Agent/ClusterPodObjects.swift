import Bytes
import ClusterAPI
import ClusterClient
import JSON

/// `PodObjects` by requests to an API server.
public struct ClusterPodObjects: PodObjects {
    private let client: KubeClient
    private let links: Informer<ServiceLink>

    /// - Parameter links: the services of the cluster, kept current by someone who runs it.
    public init(_ client: KubeClient, links: Informer<ServiceLink>) {
        self.client = client
        self.links = links
    }

    public func configMap(_ key: ObjectKey) async throws -> JSONValue? { try await client.find(.configMaps, key)?.json }

    public func secret(_ key: ObjectKey) async throws -> JSONValue? { try await client.find(.secrets, key)?.json }

    public func token(for pod: PodSpec, audience: String, expiration: Int64) async throws -> String {
        let key = ObjectKey(namespace: pod.identity.namespace, name: pod.serviceAccountName)
        var request = KubeObject(
            apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", namespace: key.namespace, name: key.name)
        request.json["spec"] = [
            "audiences": audience.isEmpty ? [] : [.string(audience)], "expirationSeconds": .int(expiration),
            "boundObjectRef": [
                "kind": "Pod", "apiVersion": "v1", "name": .string(pod.identity.name), "uid": .string(pod.identity.uid),
            ],
        ]
        let answer = try await client.create(.serviceAccounts, request, subresource: "token")
        guard let token = answer.json["status"]?["token"]?.string else {
            throw SandboxError(description: "the server gave no token for service account \(key)")
        }
        return token
    }

    public func services() async -> [ServiceVariables.Service] { links.list().compactMap(\.service) }

    public func patchStatus(_ pod: PodIdentity, _ status: JSONValue) async throws -> JSONValue? {
        do {
            let patch: JSONValue = ["metadata": ["uid": .string(pod.uid)], "status": status]
            return try await client.patch(.pods, pod.key, .strategic, patch, subresource: "status").json
        } catch let error as StatusError {
            if try await isGone(pod, error) { return nil }
            throw error
        }
    }

    public func confirmDeletion(_ pod: PodIdentity) async throws {
        do {
            try await client.delete(.pods, pod.key, uid: pod.uid, gracePeriodSeconds: 0)
        } catch let error as StatusError {
            if try await isGone(pod, error) { return }
            throw error
        }
    }

    /// Whether a refusal means that this pod is not there: no such name, or another pod has the name by now.
    private func isGone(_ pod: PodIdentity, _ error: StatusError) async throws -> Bool {
        switch error.code {
        case 404: return true
        case 409, 422: return try await client.find(.pods, pod.key)?.uid != pod.uid
        default: return false
        }
    }
}

/// What containers are told of a service by their environment.
public struct ServiceLink: APIDecodable {
    /// nil for a service without an address of its own.
    var service: ServiceVariables.Service?

    public init(_ object: KubeObject) {
        guard let address = object.json["spec"]?["clusterIP"]?.string, !address.isEmpty, address != "None" else {
            return
        }
        service = ServiceVariables.Service(
            key: object.key, clusterIP: address,
            ports: object.json["spec"]?["ports"].elements.compactMap { port in
                port["port"]?.int.map {
                    ServiceVariables.Port(
                        name: port["name"]?.string ?? "", port: $0, transport: port["protocol"]?.string ?? "TCP")
                }
            } ?? [])
    }
}

/// `PodEvents` by an `EventRecorder`.
public struct ClusterPodEvents: PodEvents {
    private let recorder: EventRecorder

    public init(_ recorder: EventRecorder) { self.recorder = recorder }

    public func record(_ pod: JSONValue, _ report: PodLifecycle.Report) {
        var object = KubeObject(json: pod)
        // Items of lists and watches may come without them.
        if object.apiVersion.isEmpty { object.json["apiVersion"] = "v1" }
        if object.kind.isEmpty { object.json["kind"] = "Pod" }
        if report.isWarning {
            recorder.warning(object, report.reason, report.message)
        } else {
            recorder.normal(object, report.reason, report.message)
        }
    }
}
