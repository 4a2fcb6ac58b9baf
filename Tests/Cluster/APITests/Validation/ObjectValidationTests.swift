import ClusterAPI
import JSON
import Testing

/// One row: an object as YAML-like JSON, and what is wrong with it.
struct ValidationCase: Sendable, CustomTestStringConvertible {
    var name: String
    var kind: GroupVersionKind
    var object: JSONValue
    var errors: [String]
    var namespaced = true
    var testDescription: String { name }
}

private let podKind = GroupVersionKind(kind: "Pod")
private let serviceKind = GroupVersionKind(kind: "Service")
private let deploymentKind = GroupVersionKind(group: "apps", kind: "Deployment")

private let container: JSONValue = ["name": "c", "image": "i", "imagePullPolicy": "Always"]
private func podSpec(_ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    var spec: JSONValue = ["containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst"]
    change(&spec)
    return spec
}
private func pod(_ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    ["metadata": ["name": "p", "namespace": "n"], "spec": podSpec(change)]
}
private func service(_ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    var spec: JSONValue = [
        "type": "ClusterIP", "sessionAffinity": "None",
        "ports": [["port": 80, "protocol": "TCP", "targetPort": 8080]],
    ]
    change(&spec)
    return ["metadata": ["name": "s", "namespace": "n"], "spec": spec]
}
private func deployment(_ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    var spec: JSONValue = [
        "replicas": 1, "selector": ["matchLabels": ["app": "web"]],
        "strategy": ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": "25%", "maxUnavailable": "25%"]],
        "template": ["metadata": ["labels": ["app": "web"]], "spec": podSpec()],
    ]
    change(&spec)
    return ["metadata": ["name": "d", "namespace": "n"], "spec": spec]
}
private func metadata(_ metadata: JSONValue) -> JSONValue {
    var object = pod()
    object["metadata"] = metadata
    return object
}

@Suite("Validation")
struct ObjectValidationTests {
    static let creations: [ValidationCase] = [
        .init(name: "a plain pod is fine", kind: podKind, object: pod(), errors: []),
        .init(
            name: "an inline CSI volume names its driver", kind: podKind,
            object: pod {
                $0["volumes"] = [
                    ["name": "a", "csi": ["driver": "mesh.weft.dev", "readOnly": true]], ["name": "b", "csi": [:]],
                    ["name": "c", "csi": ["driver": "no_driver", "nodePublishSecretRef": [:]]],
                ]
            },
            errors: [
                "spec.volumes[1].csi.driver: Required value",
                "spec.volumes[2].csi.driver: Invalid value: \"no_driver\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.volumes[2].csi.nodePublishSecretRef.name: Required value",
            ]),
        .init(
            name: "a name is needed", kind: podKind, object: metadata(["namespace": "n"]),
            errors: ["metadata.name: Required value: name or generateName is required"]),
        .init(
            name: "a generated name is checked with its suffix", kind: podKind,
            object: metadata(["namespace": "n", "generateName": "ok-", "name": "ok-x2345"]), errors: []),
        .init(
            name: "a cluster object has no namespace", kind: GroupVersionKind(kind: "Node"),
            object: ["metadata": ["name": "n1", "namespace": "n"]],
            errors: ["metadata.namespace: Forbidden: not allowed on this type"], namespaced: false),
        .init(
            name: "finalizers are qualified", kind: podKind,
            object: metadata(["name": "p", "namespace": "n", "finalizers": ["mine"]]),
            errors: [
                #"metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified"#
            ]),
        .init(
            name: "containers are needed", kind: podKind, object: pod { $0["containers"] = [] },
            errors: ["spec.containers: Required value"]),
        .init(
            name: "two containers of one name", kind: podKind,
            object: pod { $0["containers"] = [container, container] },
            errors: [#"spec.containers[1].name: Duplicate value: "c""#]),
        .init(
            name: "an image is needed", kind: podKind,
            object: pod { $0["containers"] = [["name": "c", "imagePullPolicy": "Always"]] },
            errors: ["spec.containers[0].image: Required value"]),
        .init(
            name: "a mount names a volume", kind: podKind,
            object: pod {
                $0["containers"] = [
                    [
                        "name": "c", "image": "i", "imagePullPolicy": "Always",
                        "volumeMounts": [["name": "v", "mountPath": "/v"]],
                    ]
                ]
            }, errors: [#"spec.containers[0].volumeMounts[0].name: Not found: "v""#]),
        .init(
            name: "an unknown restart policy", kind: podKind, object: pod { $0["restartPolicy"] = "Maybe" },
            errors: [
                #"spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure""#
            ]),
        .init(
            name: "a request within its limit", kind: podKind,
            object: pod {
                var greedy = container
                greedy["resources"] = [
                    "requests": ["cpu": "2", "memory": "1Gi"], "limits": ["cpu": "1500m", "memory": "1024Mi"],
                ]
                $0["containers"] = [greedy]
            },
            errors: [
                #"spec.containers[0].resources.requests[cpu]: Invalid value: "2": must be less than or equal to cpu limit of 1500m"#
            ]),
        .init(name: "a plain service is fine", kind: serviceKind, object: service(), errors: []),
        .init(
            name: "a service needs ports", kind: serviceKind, object: service { $0["ports"] = [] },
            errors: ["spec.ports: Required value"]),
        .init(
            name: "a headless service needs none", kind: serviceKind,
            object: service {
                $0["ports"] = []
                $0["clusterIP"] = "None"
            }, errors: []),
        .init(
            name: "two ports need names", kind: serviceKind,
            object: service {
                $0["ports"] = [
                    ["port": 80, "protocol": "TCP", "name": "a"], ["port": 81, "protocol": "TCP"],
                ]
            }, errors: ["spec.ports[1].name: Required value"]),
        .init(
            name: "a port is a port", kind: serviceKind,
            object: service { $0["ports"] = [["port": 70000, "protocol": "TCP"]] },
            errors: ["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        .init(
            name: "the same port twice", kind: serviceKind,
            object: service {
                $0["ports"] = [
                    ["port": 80, "protocol": "TCP", "name": "a"], ["port": 80, "protocol": "TCP", "name": "b"],
                ]
            }, errors: [#"spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}"#]),
        .init(
            name: "a node port is not for ClusterIP", kind: serviceKind,
            object: service { $0["ports"] = [["port": 80, "protocol": "TCP", "nodePort": 30080]] },
            errors: ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
        .init(
            name: "an unknown type", kind: serviceKind, object: service { $0["type"] = "Magic" },
            errors: [
                #"spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#
            ]),
        .init(name: "a plain deployment is fine", kind: deploymentKind, object: deployment(), errors: []),
        .init(
            name: "a selector is needed", kind: deploymentKind, object: deployment { $0["selector"] = nil },
            errors: ["spec.selector: Required value"]),
        .init(
            name: "the selector matches the template", kind: deploymentKind,
            object: deployment { $0["selector"] = ["matchLabels": ["app": "db"]] },
            errors: [
                #"spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`"#
            ]),
        .init(
            name: "some progress must be possible", kind: deploymentKind,
            object: deployment {
                $0["strategy"] = ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": 0, "maxUnavailable": "0%"]]
            },
            errors: [
                #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#
            ]),
        .init(
            name: "a negative count", kind: deploymentKind, object: deployment { $0["replicas"] = -1 },
            errors: ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        .init(
            name: "a template restarts always", kind: deploymentKind,
            object: deployment {
                $0["template"] = [
                    "metadata": ["labels": ["app": "web"]], "spec": podSpec { $0["restartPolicy"] = "Never" },
                ]
            },
            errors: [
                #"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
            ]),
        .init(
            name: "an address of the wrong family",
            kind: GroupVersionKind(group: "discovery.k8s.io", kind: "EndpointSlice"),
            object: [
                "metadata": ["name": "s", "namespace": "n"], "addressType": "IPv4",
                "endpoints": [["addresses": ["fd00::1"]], ["addresses": ["127.0.0.1"]], ["addresses": []]],
            ],
            errors: [
                #"endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address"#,
                #"endpoints[1].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
                "endpoints[2].addresses: Required value: must contain at least 1 address",
            ]),
        .init(
            name: "a policy's peer is a peer",
            kind: GroupVersionKind(group: "networking.k8s.io", kind: "NetworkPolicy"),
            object: [
                "metadata": ["name": "s", "namespace": "n"],
                "spec": [
                    "podSelector": [:],
                    "ingress": [["from": [["ipBlock": ["cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]]], [:]]]],
                ],
            ],
            errors: [
                #"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`"#,
                "spec.ingress[0].from[1]: Required value: must specify a peer",
            ]),
        .init(
            name: "a budget has one bound", kind: GroupVersionKind(group: "policy", kind: "PodDisruptionBudget"),
            object: [
                "metadata": ["name": "b", "namespace": "n"], "spec": ["minAvailable": "50", "maxUnavailable": 1],
            ],
            errors: [
                #"spec: Invalid value: {"maxUnavailable":1,"minAvailable":"50"}: minAvailable and maxUnavailable cannot be both set"#,
                #"spec.minAvailable: Invalid value: "50": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"#,
            ]),
    ]

    @Test("an object to be created", arguments: creations)
    func create(row: ValidationCase) {
        let errors = ObjectValidation.create(row.object, row.kind, namespaced: row.namespaced)
        #expect(errors.map(\.description) == row.errors)
    }

    static let changes: [(String, GroupVersionKind, JSONValue, JSONValue, String?)] = [
        (
            "an image may change", podKind, pod(),
            pod { $0["containers"] = [["name": "c", "image": "j", "imagePullPolicy": "Always"]] }, nil
        ),
        (
            "a node selector may not", podKind, pod(), pod { $0["nodeSelector"] = ["a": "b"] },
            "spec: Forbidden: pod updates may not change fields other than"
        ),
        ("a toleration may be added", podKind, pod(), pod { $0["tolerations"] = [["operator": "Exists"]] }, nil),
        (
            "a toleration may not go", podKind, pod { $0["tolerations"] = [["operator": "Exists"]] }, pod(),
            "spec.tolerations: Forbidden: existing toleration can not be modified"
        ),
        (
            "a deadline may not grow", podKind, pod { $0["activeDeadlineSeconds"] = 5 },
            pod { $0["activeDeadlineSeconds"] = 6 },
            "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"
        ),
        (
            "a deployment's selector is fixed", deploymentKind, deployment(),
            deployment {
                $0["selector"] = ["matchLabels": ["app": "db"]]
                $0["template"] = ["metadata": ["labels": ["app": "db"]], "spec": podSpec()]
            }, #"spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable"#
        ),
        ("a deployment scales", deploymentKind, deployment(), deployment { $0["replicas"] = 5 }, nil),
        (
            "a cluster address is fixed", serviceKind, service { $0["clusterIP"] = "10.0.0.1" },
            service { $0["clusterIP"] = "10.0.0.2" },
            #"spec.clusterIPs[0]: Invalid value: "10.0.0.2": may not change once set"#
        ),
        (
            "a service may become an external name", serviceKind, service { $0["clusterIP"] = "10.0.0.1" },
            service {
                $0["type"] = "ExternalName"
                $0["externalName"] = "example.com"
            }, nil
        ),
        (
            "a frozen config map is frozen", GroupVersionKind(kind: "ConfigMap"),
            ["metadata": ["name": "c", "namespace": "n"], "immutable": true, "data": ["a": "b"]],
            ["metadata": ["name": "c", "namespace": "n"], "immutable": true, "data": ["a": "c"]],
            "data: Forbidden: field is immutable when `immutable` is set"
        ),
        (
            "no new finalizers while dying", podKind,
            metadata([
                "name": "p", "namespace": "n", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"],
            ]),
            metadata([
                "name": "p", "namespace": "n", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["a/b", "c/d"],
            ]),
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
        ),
    ]

    @Test("an object to be changed", arguments: changes)
    func update(name: String, kind: GroupVersionKind, old: JSONValue, new: JSONValue, problem: String?) {
        let errors = ObjectValidation.update(new, old: old, kind, namespaced: true).map(\.description)
        if let problem {
            #expect(errors.contains { $0.hasPrefix(problem) }, "\(errors)")
        } else {
            #expect(errors == [])
        }
    }

    @Test("no shape of an object traps the rules")
    func anyShape() {
        let shapes: [JSONValue] = [
            .null, "x", 1, [], [:], true, ["spec": 1, "metadata": []], ["spec": ["containers": "x", "ports": [1]]],
        ]
        for kind in ["Pod", "Service", "ConfigMap", "Secret", "Endpoints", "Node", "Event"] {
            for shape in shapes {
                _ = ObjectValidation.create(shape, GroupVersionKind(kind: kind), namespaced: true)
                _ = ObjectValidation.update(shape, old: pod(), GroupVersionKind(kind: kind), namespaced: true)
            }
        }
    }
}
