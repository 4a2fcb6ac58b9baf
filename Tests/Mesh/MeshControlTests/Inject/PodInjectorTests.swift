import ClusterAPI
import JSON
import MeshAPI
import MeshControl
import TestSupport
import Testing

@Suite("Injection of sidecars into pods")
struct PodInjectorTests {
    private let injector = PodInjector(SidecarSettings())

    private func pod(
        labels: [String: String] = ["app": "web"], annotations: [String: String] = [:], spec: JSONValue = [:]
    ) -> JSONValue {
        var full: JSONValue = ["containers": [["name": "app", "image": "shop:1"]]]
        for (key, value) in spec.object ?? [:] { full[key] = value }
        return [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": "web-1", "namespace": "shop", "labels": JSONValue(stringMap: labels),
                "annotations": JSONValue(stringMap: annotations),
            ],
            "spec": full,
        ]
    }

    private func injected(_ pod: JSONValue) throws -> JSONValue {
        let outcome = try injector.inject(pod, namespace: "shop", namespaceLabels: ["mesh.weft.dev/inject": "enabled"])
        return try #require(outcome.pod, "\(outcome.reason ?? "")")
    }

    private func sidecar(_ pod: JSONValue) throws -> JSONValue {
        try #require(pod["spec"]?["initContainers"]?[0])
    }

    struct Wish: Sendable, CustomTestStringConvertible {
        var labels: [String: String] = [:]
        var annotations: [String: String] = [:]
        var namespace: [String: String] = [:]
        var isInjected: Bool
        var testDescription: String { "\(labels) \(annotations) in \(namespace) → \(isInjected)" }
    }

    static let wishes: [Wish] = [
        Wish(isInjected: false),
        Wish(namespace: ["mesh.weft.dev/inject": "enabled"], isInjected: true),
        Wish(namespace: ["mesh.weft.dev/inject": "true"], isInjected: true),
        Wish(namespace: ["mesh.weft.dev/inject": "disabled"], isInjected: false),
        Wish(namespace: ["mesh.weft.dev/inject": "perhaps"], isInjected: false),
        Wish(namespace: ["istio-injection": "enabled"], isInjected: true),
        Wish(namespace: ["istio-injection": "enabled", "mesh.weft.dev/inject": "disabled"], isInjected: false),
        Wish(
            labels: ["mesh.weft.dev/inject": "false"], namespace: ["mesh.weft.dev/inject": "enabled"],
            isInjected: false),
        Wish(
            annotations: ["mesh.weft.dev/inject": "false"], namespace: ["mesh.weft.dev/inject": "enabled"],
            isInjected: false),
        Wish(labels: ["mesh.weft.dev/inject": "true"], isInjected: true),
        Wish(annotations: ["mesh.weft.dev/inject": "true"], isInjected: true),
        Wish(labels: ["sidecar.istio.io/inject": "true"], isInjected: true),
        Wish(
            annotations: ["sidecar.istio.io/inject": "false"], namespace: ["istio-injection": "enabled"],
            isInjected: false),
        Wish(
            labels: ["sidecar.istio.io/inject": "true"], annotations: ["mesh.weft.dev/inject": "false"],
            isInjected: false),
        Wish(
            labels: ["mesh.weft.dev/inject": "true"], annotations: ["mesh.weft.dev/inject": "false"], isInjected: true),
    ]

    @Test(
        "who is injected: the pod's word before the namespace's, ours before Istio's, labels first", arguments: wishes)
    func wish(_ wish: Wish) throws {
        let outcome = try injector.inject(
            pod(labels: wish.labels, annotations: wish.annotations), namespace: "shop",
            namespaceLabels: wish.namespace)
        #expect((outcome.pod != nil) == wish.isInjected)
        #expect(outcome.warnings == [])
    }

    @Test("a word that is neither yes nor no refuses the pod and says where it stands")
    func unclear() {
        #expect(
            throws: AnnotationError(description: "label mesh.weft.dev/inject: expected true or false, found \"maybe\"")
        ) {
            try injector.inject(
                pod(labels: ["mesh.weft.dev/inject": "maybe"]), namespace: "shop", namespaceLabels: [:])
        }
    }

    @Test("a pod on the node's network, or of a spared namespace, stays as it is, and who makes it is told")
    func obstacles() throws {
        let own = ["mesh.weft.dev/inject": "true"]
        let host = try injector.inject(
            pod(labels: own, spec: ["hostNetwork": true]), namespace: "shop", namespaceLabels: [:])
        #expect(host.pod == nil)
        #expect(host.warnings.count == 1 && host.warnings[0].contains("hostNetwork"))
        let spared = try injector.inject(pod(labels: own), namespace: "kube-system", namespaceLabels: [:])
        #expect(spared.pod == nil)
        #expect(spared.warnings.count == 1 && spared.warnings[0].contains("kube-system"))
    }

    @Test("the sidecar is the first init container, restarts always, and has no rights; all else stays in its order")
    func shape() throws {
        let before = pod(spec: [
            "initContainers": [
                ["name": "migrate", "image": "m"], ["name": "agent", "image": "a", "restartPolicy": "Always"],
            ],
            "containers": [["name": "app", "image": "shop:1"], ["name": "helper", "image": "h"]],
            "volumes": [["name": "data", "emptyDir": [:]]],
        ])
        let after = try injected(before)
        let names = (after["spec"]?["initContainers"]?.array ?? []).compactMap { $0["name"]?.string }
        #expect(names == ["weft-proxy", "migrate", "agent"])
        #expect(after["spec"]?["containers"] == before["spec"]?["containers"])
        let proxy = try sidecar(after)
        #expect(proxy["restartPolicy"] == "Always")
        #expect(proxy["image"] == "weft.local/host")
        #expect(proxy["securityContext"]?["runAsUser"] == 1337)
        #expect(proxy["securityContext"]?["capabilities"] == ["drop": ["ALL"]])
        #expect(proxy["securityContext"]?["readOnlyRootFilesystem"] == true)
        #expect(proxy["startupProbe"]?["httpGet"] == ["path": "/healthz/ready", "port": 15021])
        #expect(
            proxy["volumeMounts"] == [
                ["name": "weft-mesh", "mountPath": "/run/weft/mesh", "readOnly": true],
                ["name": "weft-state", "mountPath": "/run/weft/state"],
            ])
        #expect(
            after["spec"]?["volumes"] == [
                ["name": "data", "emptyDir": [:]],
                ["name": "weft-mesh", "csi": ["driver": "mesh.weft.dev", "readOnly": true]],
                ["name": "weft-state", "emptyDir": ["sizeLimit": "64Mi"]],
            ])
        let status = try #require(after["metadata"]?["annotations"]?["mesh.weft.dev/status"]?.string)
        #expect(try JSONValue.parse(status)["initContainers"] == ["weft-proxy"])
    }

    @Test("injecting what is injected changes nothing, and a copy without its sidecar gets one again")
    func idempotent() throws {
        let once = try injected(pod())
        let twice = try injector.inject(once, namespace: "shop", namespaceLabels: ["mesh.weft.dev/inject": "enabled"])
        #expect(twice.pod == nil)
        #expect(twice.reason == "it has its sidecar already")
        var stripped = once
        stripped["spec"]?["initContainers"] = []
        #expect(try injected(stripped) == once)
    }

    @Test("a container of the user's with the sidecar's name goes over ours, wherever it stands")
    func override() throws {
        for field in ["initContainers", "containers"] {
            var before = pod()
            let own: JSONValue = [
                "name": "weft-proxy", "image": "auto", "resources": ["requests": ["cpu": "500m"]],
                "env": [["name": "EXTRA", "value": "1"]],
            ]
            let others = before["spec"]?[field]?.array ?? []
            before["spec"]?[field] = .array(others + [own])
            let after = try injected(before)
            let proxy = try sidecar(after)
            #expect(proxy["image"] == "weft.local/host")
            #expect(proxy["resources"]?["requests"]?["cpu"] == "500m")
            #expect(proxy["resources"]?["requests"]?["memory"] == "32Mi")
            let names = (proxy["env"]?.array ?? []).compactMap { $0["name"]?.string }
            #expect(Set(names).isSuperset(of: ["EXTRA", "POD_NAME"]))
            #expect((after["spec"]?["containers"]?.array ?? []).compactMap { $0["name"]?.string } == ["app"])
        }
    }

    @Test(
        "resources by annotation, ours or Istio's",
        arguments: ["mesh.weft.dev/", "sidecar.istio.io/"])
    func resources(_ prefix: String) throws {
        let after = try injected(
            pod(annotations: [
                prefix + "proxyCPU": "25m", prefix + "proxyMemoryLimit": "96Mi", prefix + "logLevel": "debug",
                prefix + "proxyImage": "registry/envoy:v1",
            ]))
        let proxy = try sidecar(after)
        #expect(proxy["resources"] == ["requests": ["cpu": "25m"], "limits": ["memory": "96Mi"]])
        #expect(proxy["image"] == "registry/envoy:v1")
        let arguments = (proxy["args"]?.array ?? []).compactMap(\.string)
        let level = try #require(arguments.firstIndex(of: "--log-level"))
        #expect(arguments[level + 1] == "debug")
    }

    static let refused: [(String, String, String)] = [
        ("sidecar.istio.io/proxyCPU", "lots", "a quantity"),
        ("mesh.weft.dev/proxyMemory", "-5Mi", "a quantity"),
        ("sidecar.istio.io/logLevel", "loud", "one of trace"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "80,http", "ports such as"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "0", "ports such as"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "90-80", "ports such as"),
        ("traffic.sidecar.istio.io/includeOutboundPorts", "65536", "ports such as"),
        ("mesh.weft.dev/excludeOutboundIPRanges", "10.0.0.0/33", "ranges such as"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "*,10.0.0.0/8", "ranges such as"),
        ("sidecar.istio.io/interceptionMode", "DIVERT", "REDIRECT, TPROXY or NONE"),
    ]

    @Test("an annotation that cannot be understood refuses the pod with the annotation's name", arguments: refused)
    func refuses(_ name: String, _ value: String, _ expected: String) throws {
        let error = #expect(throws: AnnotationError.self) { try injected(pod(annotations: [name: value])) }
        let text = try #require(error).description
        #expect(text.contains(name) && text.contains(value) && text.contains(expected))
    }

    @Test("under TPROXY the sidecar may send in its clients' names, and no more", arguments: [true, false])
    func transparent(_ isOwnWish: Bool) throws {
        var injector = injector
        if !isOwnWish { injector.settings.interception = .tproxy }
        let annotations = isOwnWish ? ["sidecar.istio.io/interceptionMode": "TPROXY"] : [:]
        let before = pod(labels: ["mesh.weft.dev/inject": "true"], annotations: annotations)
        let after = try #require(try injector.inject(before, namespace: "shop", namespaceLabels: [:]).pod)
        let proxy = try sidecar(after)
        #expect(proxy["securityContext"]?["capabilities"] == ["add": ["NET_ADMIN"], "drop": ["ALL"]])
        #expect(proxy["securityContext"]?["runAsUser"] == 0)
        #expect(proxy["securityContext"]?["runAsGroup"] == 1337)
        #expect(proxy["securityContext"]?["allowPrivilegeEscalation"] == false)
        let bootstrap = (proxy["args"]?.array ?? []).compactMap(\.string).last ?? ""
        #expect(bootstrap.contains("\"INTERCEPTION_MODE\":\"TPROXY\""))
        // Nodes and the control plane read it from the pod.
        let written = KubeObject(json: after).annotations
        #expect(try CapturePlan(MeshAnnotations(written)).keepsClients)
        // What the pod says goes before what the mesh has.
        let redirected = pod(
            labels: ["mesh.weft.dev/inject": "true"], annotations: ["mesh.weft.dev/interceptionMode": "REDIRECT"])
        let plain = try sidecar(
            try #require(try injector.inject(redirected, namespace: "shop", namespaceLabels: [:]).pod))
        #expect(plain["securityContext"]?["capabilities"] == ["drop": ["ALL"]])
        #expect(plain["securityContext"]?["runAsUser"] == 1337)
    }

    @Test(
        "a namespace whose pod security forbids CAP_NET_ADMIN is not given it", arguments: ["baseline", "restricted"])
    func forbidden(_ level: String) throws {
        let labels = ["pod-security.kubernetes.io/enforce": level]
        let wish = pod(
            labels: ["mesh.weft.dev/inject": "true"], annotations: ["sidecar.istio.io/interceptionMode": "TPROXY"])
        let error = #expect(throws: AnnotationError.self) {
            try injector.inject(wish, namespace: "shop", namespaceLabels: labels)
        }
        let text = try #require(error).description
        #expect(text.contains("TPROXY") && text.contains("CAP_NET_ADMIN") && text.contains(level))
        // The mesh's own default yields, and says so.
        var settings = SidecarSettings()
        settings.interception = .tproxy
        let outcome = try PodInjector(settings).inject(
            pod(labels: ["mesh.weft.dev/inject": "true"]), namespace: "shop", namespaceLabels: labels)
        let after = try #require(outcome.pod)
        #expect(try sidecar(after)["securityContext"]?["runAsUser"] == 1337)
        #expect(outcome.warnings.contains { $0.contains("clients' addresses are not kept") })
    }

    @Test("what has no effect is said: annotations that nobody reads, an app that runs as the sidecar's user")
    func warnings() throws {
        let outcome = try injector.inject(
            pod(
                labels: ["mesh.weft.dev/inject": "true"],
                annotations: ["sidecar.istio.io/userVolume": "[]", "proxy.istio.io/config": "x", "other.io/a": "b"],
                spec: ["securityContext": ["runAsUser": 1337]]), namespace: "shop", namespaceLabels: [:])
        #expect(outcome.pod != nil)
        #expect(
            outcome.warnings == [
                "user 1337 is the sidecar's: what a container of it sends is not captured",
                "annotation proxy.istio.io/config has no effect here",
                "annotation sidecar.istio.io/userVolume has no effect here",
            ])
    }

    struct Owner: Sendable {
        var kind: String
        var name: String
        var hash: String?
        var workload: String
    }

    @Test(
        "the workload is what a pod's owner stands for",
        arguments: [
            Owner(kind: "ReplicaSet", name: "web-6d4f9", hash: "6d4f9", workload: "web"),
            Owner(kind: "ReplicaSet", name: "web-6d4f9", workload: "web-6d4f9"),
            Owner(kind: "StatefulSet", name: "db", workload: "db"),
            Owner(kind: "Job", name: "backup-29384756", workload: "backup"),
            Owner(kind: "Job", name: "backup-3", workload: "backup-3"),
            Owner(kind: "DaemonSet", name: "logs", workload: "logs"),
        ])
    func workload(_ owner: Owner) throws {
        var before = pod(labels: owner.hash.map { ["pod-template-hash": $0] } ?? [:])
        before["metadata"]?["name"] = nil
        before["metadata"]?["generateName"] = .string(owner.name + "-")
        before["metadata"]?["ownerReferences"] = [
            ["apiVersion": "apps/v1", "kind": .string(owner.kind), "name": .string(owner.name), "controller": true]
        ]
        let metadata = try bootstrap(injected(before))["node"]?["metadata"]
        #expect(metadata?["WORKLOAD_NAME"] == .string(owner.workload))
        #expect(metadata?["POD_NAME"] == "$(POD_NAME)")
    }

    private func bootstrap(_ pod: JSONValue) throws -> JSONValue {
        let arguments = (try sidecar(pod)["args"]?.array ?? []).compactMap(\.string)
        let index = try #require(arguments.firstIndex(of: "--config-yaml"))
        return try JSONValue.parse(arguments[index + 1])
    }

    @Test("the proxy is told who it is, and users' texts in it are no variables of the kubelet's")
    func metadata() throws {
        let before = pod(
            labels: ["app": "web", "version": "v1"],
            annotations: ["mesh.weft.dev/excludeInboundPorts": "9000", "b.io/$(X)": "n"],
            spec: ["serviceAccountName": "web"])
        let node = try bootstrap(injected(before))["node"]?["metadata"]
        #expect(node?["NAMESPACE"] == "$(POD_NAMESPACE)")
        #expect(node?["SERVICE_ACCOUNT"] == "web")
        #expect(node?["LABELS"] == ["app": "web", "version": "v1"])
        #expect(node?["ANNOTATIONS"] == ["mesh.weft.dev/excludeInboundPorts": "9000"])
        let sneaky = try bootstrap(injected(pod(annotations: ["mesh.weft.dev/note": "$(POD_NAME)"])))
        #expect(sneaky["node"]?["metadata"]?["ANNOTATIONS"]?["mesh.weft.dev/note"] == "$$(POD_NAME)")
        let arguments = (try sidecar(injected(before))["args"]?.array ?? []).compactMap(\.string)
        #expect(
            arguments.starts(with: [
                "--service-node", "sidecar~$(POD_NAME).$(POD_NAMESPACE)", "--service-cluster", "web.shop",
            ]))
    }

    @Test(
        "Envoy takes the same bootstrap", .enabled(if: EnvoyBinary.path != nil, "Envoy cannot be installed"))
    func envoy() throws {
        let text = try bootstrap(injected(pod())).encodedString().replacing("$(INSTANCE_IPS)", with: "10.0.0.1")
        let (output, status) = try ChildCommand([
            #require(EnvoyBinary.path), "--mode", "validate", "--service-node", "sidecar~web-1.shop",
            "--service-cluster", "web.shop", "--config-yaml", text, "--use-dynamic-base-id",
        ]).finish()
        #expect(status == 0, "\(output.suffix(2000))")
    }
}
