import ClusterAPI
import JSON
import MeshAPI

/// The objects that run a Gateway: a Deployment of proxies, the Service that leads to them, and the account whose identity they have.
struct GatewayWorkload: Sendable {
    let gateway: MeshGateway
    /// Where its proxies listen.
    let ports: [Int]
    let settings: SidecarSettings

    private var key: ObjectKey { gateway.workload }

    private func object(_ apiVersion: String, _ kind: String) -> KubeObject {
        var object = KubeObject(apiVersion: apiVersion, kind: kind, namespace: key.namespace, name: key.name)
        object.labels = labels
        object.annotations = annotations
        object.json["metadata"]?["ownerReferences"] = [
            [
                "apiVersion": .string("\(RouteKind.group)/v1"), "kind": "Gateway", "name": .string(gateway.key.name),
                "uid": .string(gateway.uid), "controller": true, "blockOwnerDeletion": true,
            ]
        ]
        return object
    }

    /// Those of the infrastructure, and what everything of a Gateway is found by. A label's value has 63 characters at most.
    static func labels(of gateway: MeshGateway) -> [String: String] {
        (gateway.infrastructure["labels"]?.stringMap ?? [:]).merging([
            GatewayController.label: gateway.key.name, "app.kubernetes.io/managed-by": "weft",
        ]) { $1 }
    }

    private var labels: [String: String] { Self.labels(of: gateway) }

    private var annotations: [String: String] { gateway.infrastructure["annotations"]?.stringMap ?? [:] }

    var account: KubeObject { object("v1", "ServiceAccount") }

    var service: KubeObject {
        var service = object("v1", "Service")
        let wanted = gateway.addresses.map { $0.text("value") }.filter { !$0.isEmpty }
        if !wanted.isEmpty {
            service.annotations = annotations.merging([Self.addresses: wanted.joined(separator: ",")]) { $1 }
        }
        service.spec = [
            "type": "LoadBalancer", "loadBalancerClass": "weft.dev/node", "ipFamilyPolicy": "PreferDualStack",
            "selector": [GatewayController.label: .string(gateway.key.name)],
            "ports": .array(
                (ports.isEmpty ? [Int(MeshPort.health)] : ports).map { port in
                    [
                        "name": .string(ports.isEmpty ? "status" : "p\(port)"), "port": .int(Int64(port)),
                        "targetPort": .int(Int64(port)), "protocol": "TCP",
                    ]
                }),
        ]
        return service
    }

    /// Annotation of a Service of class `weft.dev/node`: which of the nodes' addresses it wants.
    static let addresses = "weft.dev/load-balancer-addresses"

    var deployment: KubeObject {
        var deployment = object("apps/v1", "Deployment")
        let selector: JSONValue = [GatewayController.label: .string(gateway.key.name)]
        var marks = annotations
        // A gateway is a proxy; it needs none beside it.
        marks[MeshName.inject] = "false"
        deployment.spec = [
            "selector": ["matchLabels": selector],
            "template": [
                "metadata": [
                    "labels": JSONValue(stringMap: labels.merging([MeshName.inject: "false"]) { $1 }),
                    "annotations": JSONValue(stringMap: marks),
                ],
                "spec": [
                    "serviceAccountName": .string(key.name), "automountServiceAccountToken": false,
                    // Ports below 1024 without being anybody special.
                    "securityContext": [
                        "sysctls": [["name": "net.ipv4.ip_unprivileged_port_start", "value": "0"]]
                    ],
                    "terminationGracePeriodSeconds": .int(Int64(settings.drainSeconds + 25)),
                    "containers": [container], "volumes": .array(SidecarContainer.volumes),
                ],
            ],
        ]
        return deployment
    }

    /// The sidecar's container, as a container of its own.
    private var container: JSONValue {
        let sidecar = SidecarContainer(
            settings: settings, annotations: MeshAnnotations([:]),
            bootstrap: SidecarBootstrap(
                labels: labels, annotations: [:],
                workload: Workload(name: key.name, kind: "Deployment", apiVersion: "apps/v1"),
                namespace: key.namespace, serviceAccount: key.name, clusterDomain: settings.clusterDomain,
                containers: []),
            cluster: "\(key.name).\(key.namespace)", role: .router)
        // Without annotations there is nothing that could be wrong.
        guard var json = try? sidecar.json() else { preconditionFailure("a gateway's container cannot be described") }
        json["restartPolicy"] = nil
        json["startupProbe"] = nil
        json["readinessProbe"]?["periodSeconds"] = 2
        json["ports"] = .array(
            (json["ports"]?.array ?? [])
                + ports.map { ["containerPort": .int(Int64($0)), "protocol": "TCP"] })
        return json
    }
}
