import ClusterAPI
import ClusterClient
import JSON

/// The cluster's DNS as objects: what an operator would apply by hand, under the names that Kubernetes people look for.
enum ClusterDNS {
    private static let namespace = "kube-system"
    private static let labels: JSONValue = ["k8s-app": "kube-dns"]

    static func objects(replicas: Int) -> [(GroupVersionResource, JSONValue)] {
        [
            (.serviceAccounts, ["apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("coredns")]),
            (roles("clusterroles"), role), (roles("clusterrolebindings"), binding),
            (
                .configMaps,
                [
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("coredns"),
                    "data": ["Corefile": .string(corefile)],
                ]
            ), (.services, service), (.deployments, deployment(replicas: replicas)),
        ]
    }

    private static func metadata(_ name: String) -> JSONValue {
        ["name": .string(name), "namespace": .string(namespace), "labels": labels]
    }

    // MARK: What it may read

    private static let rbac = "rbac.authorization.k8s.io"
    private static let roleName = "system:coredns"

    private static func roles(_ plural: String) -> GroupVersionResource {
        GroupVersionResource(group: rbac, resource: plural)
    }

    private static let role: JSONValue = [
        "apiVersion": .string(rbac + "/v1"), "kind": "ClusterRole", "metadata": ["name": .string(roleName)],
        "rules": [
            [
                "apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"],
                "verbs": ["list", "watch"],
            ],
            ["apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]],
        ],
    ]

    private static let binding: JSONValue = [
        "apiVersion": .string(rbac + "/v1"), "kind": "ClusterRoleBinding", "metadata": ["name": .string(roleName)],
        "roleRef": ["apiGroup": .string(rbac), "kind": "ClusterRole", "name": .string(roleName)],
        "subjects": [["kind": "ServiceAccount", "name": "coredns", "namespace": .string(namespace)]],
    ]

    static let corefile = """
        .:53 {
            errors
            health
            ready
            kubernetes cluster.local in-addr.arpa ip6.arpa {
                pods insecure
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }
            prometheus :9153
            forward . /etc/resolv.conf
            cache 30
            loadbalance
        }

        """

    private static var service: JSONValue {
        var metadata = metadata("kube-dns")
        metadata["labels"] = ["k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"]
        func port(_ name: String, _ number: Int64, _ transport: String) -> JSONValue {
            ["name": .string(name), "port": .int(number), "protocol": .string(transport), "targetPort": .int(number)]
        }
        return [
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": [
                "clusterIP": .string(ClusterRecord.dnsAddress), "selector": labels,
                "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")],
            ],
        ]
    }

    /// Runs weft-dns from the image that is this machine's own file system, where Weft's programs are on the path.
    private static func deployment(replicas: Int) -> JSONValue {
        let container: JSONValue = [
            "name": "dns", "image": "weft.local/host",
            "command": ["weft-dns"], "args": ["-conf", "/etc/coredns/Corefile"],
            "ports": [
                ["name": "dns", "containerPort": 53, "protocol": "UDP"],
                ["name": "dns-tcp", "containerPort": 53, "protocol": "TCP"],
                ["name": "metrics", "containerPort": 9153, "protocol": "TCP"],
            ],
            "resources": ["requests": ["cpu": "50m", "memory": "16Mi"], "limits": ["memory": "170Mi"]],
            "readinessProbe": ["httpGet": ["path": "/ready", "port": 8181], "periodSeconds": 1],
            "livenessProbe": [
                "httpGet": ["path": "/health", "port": 8080], "initialDelaySeconds": 10, "periodSeconds": 10,
                "failureThreshold": 5,
            ],
            "volumeMounts": [["name": "config", "mountPath": "/etc/coredns", "readOnly": true]],
        ]
        let pod: JSONValue = [
            "serviceAccountName": "coredns", "dnsPolicy": "Default", "priorityClassName": "system-cluster-critical",
            "tolerations": [["key": "CriticalAddonsOnly", "operator": "Exists"]],
            "containers": [container], "volumes": [["name": "config", "configMap": ["name": "coredns"]]],
        ]
        return [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("coredns"),
            "spec": [
                "replicas": .int(Int64(replicas)), "selector": ["matchLabels": labels],
                "template": ["metadata": ["labels": labels], "spec": pod],
            ],
        ]
    }

    /// Creates what is not there yet.
    static func apply(_ client: KubeClient, replicas: Int) async throws {
        for (resource, json) in objects(replicas: replicas) {
            let object = KubeObject(json: json)
            if try await client.find(resource, object.key) == nil { _ = try await client.create(resource, object) }
        }
    }

    /// Nil when one of its pods is ready; else what was last said about them.
    static func trouble(_ client: KubeClient) async throws -> String? {
        let deployment = try await client.find(.deployments, ObjectKey(namespace: namespace, name: "coredns"))
        if let ready = deployment?.status["readyReplicas"]?.int, ready > 0 { return nil }
        let warnings = try await client.list(.events, namespace: namespace).items.filter {
            $0.json["type"]?.string == "Warning"
        }
        let last = warnings.max { ($0.json["lastTimestamp"]?.string ?? "") < ($1.json["lastTimestamp"]?.string ?? "") }
        return last?.json["message"]?.string ?? "no pod is ready"
    }
}
