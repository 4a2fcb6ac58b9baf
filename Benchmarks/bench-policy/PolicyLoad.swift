import Bytes
import ClusterAPI
import JSON
import Policy

/// A cluster for measuring: workloads of five pods in namespaces of ten, policies between them, as the API has them.
struct PolicyLoad {
    static let node = "node-0"
    static let podsPerWorkload = 5
    static let workloadsPerNamespace = 10

    let pods: [KubeObject]
    let policies: [KubeObject]
    let namespaces: [KubeObject]

    /// - Parameter local: how many of the pods are on the node under test, spread over all namespaces.
    init(pods podCount: Int, policies policyCount: Int, local: Int) {
        let workloads = podCount / Self.podsPerWorkload
        let namespaceCount = max(1, workloads / Self.workloadsPerNamespace)
        namespaces = (0..<namespaceCount).map { number in
            var object = KubeObject(apiVersion: "v1", kind: "Namespace", name: "ns-\(number)")
            object.labels = [
                "kubernetes.io/metadata.name": "ns-\(number)", "tier": number % 10 == 0 ? "platform" : "apps",
            ]
            return object
        }
        let step = max(1, podCount / local)
        pods = (0..<podCount).map { Self.pod($0, local: $0 % step == 0) }
        policies = (0..<policyCount).map { Self.policy($0, namespaceCount) }
    }

    static func pod(_ number: Int, local: Bool) -> KubeObject {
        let workload = number / podsPerWorkload
        var object = KubeObject(
            apiVersion: "v1", kind: "Pod", namespace: "ns-\(workload / workloadsPerNamespace)",
            name: "app-\(workload)-\(number)")
        object.labels = [
            "app": "app-\(workload % workloadsPerNamespace)", "pod-template-hash": "\(workload)",
            "version": "v\(workload % 3)",
        ]
        object.spec = [
            "nodeName": .string(local ? node : "node-\(1 + number % 45)"),
            "containers": [
                [
                    "name": "app", "image": "registry.example/app:1.0",
                    "env": .array(
                        (0..<20).map { ["name": .string("VARIABLE_\($0)"), "value": "some value of a variable"] }),
                    "ports": [
                        ["name": "http", "containerPort": 8080], ["name": "metrics", "containerPort": 9090],
                    ],
                ]
            ],
        ]
        let address = IPAddress(v4: 0x0AC8_0000 + UInt32(number + 256))
        let other = IPAddress(v6: 0xFD00_0000_0000_0000, UInt64(number + 256))
        object.status = [
            "phase": "Running", "podIP": .string("\(address)"),
            "podIPs": [["ip": .string("\(address)")], ["ip": .string("\(other)")]],
        ]
        return object
    }

    /// Seven of ten let a neighbour in, one the platform's namespaces, one an address block, and one is about what goes out.
    private static func policy(_ number: Int, _ namespaces: Int) -> KubeObject {
        let app = number / namespaces % workloadsPerNamespace
        var object = KubeObject(
            apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", namespace: "ns-\(number % namespaces)",
            name: "policy-\(number)")
        let subject: JSONValue = ["matchLabels": ["app": .string("app-\(app)")]]
        let neighbour: JSONValue = [
            "podSelector": ["matchLabels": ["app": .string("app-\((app + 1) % workloadsPerNamespace)")]]
        ]
        switch number % 10 {
        case 7:
            object.spec = [
                "podSelector": subject, "policyTypes": ["Ingress"],
                "ingress": [
                    [
                        "from": [["namespaceSelector": ["matchLabels": ["tier": "platform"]]]],
                        "ports": [["port": "metrics"]],
                    ]
                ],
            ]
        case 8:
            object.spec = [
                "podSelector": subject, "policyTypes": ["Ingress"],
                "ingress": [
                    [
                        "from": [
                            [
                                "ipBlock": [
                                    "cidr": "192.168.0.0/16", "except": [.string("192.168.\(number % 250).0/24")],
                                ]
                            ]
                        ],
                        "ports": [["port": 8000, "endPort": 8999]],
                    ]
                ],
            ]
        case 9:
            object.spec = [
                "podSelector": subject, "policyTypes": ["Egress"],
                "egress": [
                    ["to": [neighbour], "ports": [["port": "http"]]], ["ports": [["protocol": "UDP", "port": 53]]],
                ],
            ]
        default:
            object.spec = [
                "podSelector": subject, "policyTypes": ["Ingress"],
                "ingress": [["from": [neighbour], "ports": [["port": "http"], ["port": 9090]]]],
            ]
        }
        return object
    }
}
