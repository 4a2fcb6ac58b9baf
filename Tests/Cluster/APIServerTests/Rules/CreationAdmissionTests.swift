import APIServer
import Bytes
import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Store
import TLS
import Testing

@Suite("What other rooms say to objects that are made")
struct CreationAdmissionTests {
    /// Adds a container to pods of namespaces that ask for it, and refuses pods named after trouble.
    private struct Companion: CreationAdmission {
        func covers(_ resource: GroupVersionResource) -> Bool { resource == .pods }

        func admit(_ creation: ObjectCreation) throws(StatusError) -> ObjectAdmission {
            if creation.object["metadata"]?["name"] == "trouble" { throw .badRequest("the pod is trouble") }
            guard creation.namespaceLabels["companion"] == "yes" else { return ObjectAdmission() }
            var pod = creation.object
            let containers = pod["spec"]?["containers"]?.array ?? []
            let companion: JSONValue = [
                "name": "companion", "image": "c", "resources": ["requests": ["cpu": "1m"]],
            ]
            pod["spec"]?["containers"] = .array(containers + [companion])
            return ObjectAdmission(object: pod, warnings: ["a companion was added"])
        }
    }

    private func withServer(_ body: (any APITransport) async throws -> Void) async throws {
        let folder = try TestServer.makeFolder()
        let store = try SQLiteStore(path: folder + "/store.db")
        defer {
            store.close()
            try? Files.removeTree(folder)
        }
        var config = APIServerConfig(
            serviceCIDRs: [try #require(CIDR("10.96.0.0/24"))], advertiseAddress: .loopbackV4,
            serviceAccountIssuer: "https://test",
            serviceAccountKey: try CertificateAuthority.create(commonName: "t").key)
        config.admissions = [Companion()]
        let api = APIServer(store: store, config: config)
        try await api.prepare()
        try await body(api.transport())
    }

    private func pod(_ name: String, _ namespace: String) -> JSONValue {
        [
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": .string(name), "namespace": .string(namespace)],
            "spec": ["containers": [["name": "app", "image": "a"]]],
        ]
    }

    @Test("it sees the namespace's labels; what it adds gets its defaults, counts for the pod's class, and is checked")
    func change() async throws {
        try await withServer { transport in
            let client = KubeClient(transport)
            for (name, labels) in [("plain", JSONValue.object(JSONObject())), ("escorted", ["companion": "yes"])] {
                try await client.create(
                    .namespaces,
                    KubeObject(json: [
                        "apiVersion": "v1", "kind": "Namespace",
                        "metadata": ["name": .string(name), "labels": labels],
                    ]))
                try await client.create(
                    .serviceAccounts,
                    KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: name, name: "default"))
            }
            let plain = try await client.create(.pods, KubeObject(json: pod("p", "plain")))
            #expect(plain.spec["containers"]?.array?.count == 1)
            #expect(plain.status["qosClass"] == "BestEffort")
            let escorted = try await client.create(.pods, KubeObject(json: pod("p", "escorted")))
            let companion = escorted.spec["containers"]?[1]
            #expect(companion?["name"] == "companion")
            #expect(companion?["imagePullPolicy"] == "Always" && companion?["terminationMessagePath"] != nil)
            #expect(escorted.status["qosClass"] == "Burstable")
            let error = await #expect(throws: StatusError.self) {
                try await client.create(.pods, KubeObject(json: pod("trouble", "plain")))
            }
            #expect(error?.code == 400 && error?.message == "the pod is trouble")
        }
    }
}
