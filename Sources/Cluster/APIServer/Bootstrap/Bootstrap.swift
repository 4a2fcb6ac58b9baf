import Bytes
import ClusterAPI
import JSON

/// What exists in every cluster from its first moment, made by the server itself and mended at each start.
struct Bootstrap: Sendable {
    let registry: Registry
    let advertiseAddress: IPAddress
    let securePort: UInt16
    let paths: [ServedPath]

    func run() async throws(StatusError) {
        if let services = registry.schema.resource(.services) {
            registry.services.adopt(try await registry.storage.all(services))
        }
        for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
            try await ensure(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: name).json)
        }
        for (name, value) in PriorityAdmission.systemClasses {
            try await ensure(
                .priorityClasses,
                [
                    "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": ["name": .string(name)],
                    "value": .int(value), "globalDefault": false,
                    "description": "Used for system critical pods that must run in the cluster.",
                ])
        }
        try await ensureRoles()
        try await ensureServiceRange()
        try await ensureKubernetesService()
    }

    /// Those that every cluster has, and one for each part that is served here and has readers.
    private func ensureRoles() async throws(StatusError) {
        let group = "rbac.authorization.k8s.io"
        let labels: JSONValue = ["kubernetes.io/bootstrapping": "rbac-defaults"]
        func make(_ role: DefaultRoles.Role) -> JSONValue {
            var marks = labels
            for (key, value) in role.labels { marks[key] = .string(value) }
            var json: JSONValue = [
                "apiVersion": .string(group + "/v1"), "kind": "ClusterRole",
                "metadata": ["name": .string(role.name), "labels": marks], "rules": .array(role.rules),
            ]
            if !role.aggregates.isEmpty {
                let selectors = role.aggregates.map { JSONValue.object(["matchLabels": .object([$0: "true"])]) }
                json["aggregationRule"] = ["clusterRoleSelectors": .array(selectors)]
            }
            return json
        }
        let roles = GroupVersionResource(group: group, resource: "clusterroles")
        for role in DefaultRoles.all { try await ensure(roles, make(role)) }
        try await ensure(
            GroupVersionResource(group: group, resource: "clusterrolebindings"),
            [
                "apiVersion": .string(group + "/v1"), "kind": "ClusterRoleBinding",
                "metadata": ["name": "cluster-admin", "labels": labels],
                "roleRef": ["apiGroup": .string(group), "kind": "ClusterRole", "name": "cluster-admin"],
                "subjects": [["apiGroup": .string(group), "kind": "Group", "name": "system:masters"]],
            ])
        for path in paths where !path.readerRole.isEmpty {
            let (exact, below) = (String(path.prefix.dropLast()), path.prefix + "*")
            let urls: JSONValue = [.string(exact), .string(below)]
            try await ensure(
                roles,
                make(DefaultRoles.Role(name: path.readerRole, rules: [["nonResourceURLs": urls, "verbs": ["get"]]])))
        }
    }

    private func ensureServiceRange() async throws(StatusError) {
        try await ensure(
            .serviceCIDRs,
            [
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": ["name": "kubernetes"],
                "spec": ["cidrs": .array(registry.services.ranges.map { .string($0.description) })],
            ])
    }

    /// The Service under which pods find this server, and what is behind it.
    private func ensureKubernetesService() async throws(StatusError) {
        let first = registry.services.ranges[0].first.adding(1)
        let labels: JSONValue = ["component": "apiserver", "provider": "kubernetes"]
        try await ensure(
            .services, namespace: "default",
            [
                "apiVersion": "v1", "kind": "Service",
                "metadata": ["name": "kubernetes", "namespace": "default", "labels": labels],
                "spec": [
                    "type": "ClusterIP", "clusterIP": .string(first.description),
                    "ports": [
                        ["name": "https", "protocol": "TCP", "port": 443, "targetPort": .int(Int64(securePort))]
                    ],
                ],
            ])
        // A server that only this machine can reach is nothing that pods could be sent to.
        guard !isLoopback else { return }
        let address = advertiseAddress.description
        try await ensure(
            .endpoints, namespace: "default",
            [
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": [
                    "name": "kubernetes", "namespace": "default",
                    "labels": ["endpointslice.kubernetes.io/skip-mirror": "true"],
                ],
                "subsets": [
                    [
                        "addresses": [["ip": .string(address)]],
                        "ports": [["name": "https", "port": .int(Int64(securePort)), "protocol": "TCP"]],
                    ]
                ],
            ], renews: ["subsets"])
        try await ensure(
            .endpointSlices, namespace: "default",
            [
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": [
                    "name": "kubernetes", "namespace": "default",
                    "labels": ["kubernetes.io/service-name": "kubernetes"],
                ],
                "addressType": advertiseAddress.family == .v4 ? "IPv4" : "IPv6",
                "endpoints": [["addresses": [.string(address)], "conditions": ["ready": true]]],
                "ports": [["name": "https", "port": .int(Int64(securePort)), "protocol": "TCP"]],
            ], renews: ["endpoints", "ports"])
    }

    private var isLoopback: Bool {
        advertiseAddress == .loopbackV6 || advertiseAddress.v4.map { $0 >> 24 == 127 } ?? false
    }

    /// Makes an object unless it is there.
    /// - Parameter renews: fields that are set anew also when it is.
    private func ensure(
        _ gvr: GroupVersionResource, namespace: String = "", _ object: JSONValue, renews: [String] = []
    ) async throws(StatusError) {
        guard let resource = registry.schema.resource(gvr) else { return }
        var call = APICall(user: .server, verb: .create, resource: resource)
        call.namespace = namespace
        call.name = object["metadata"]?["name"]?.string ?? ""
        guard try await registry.storage.find(resource, call.key) != nil else {
            _ = try await registry.create(object, call)
            return
        }
        guard !renews.isEmpty else { return }
        call.verb = .update
        _ = try await registry.change(call) { old throws(StatusError) in
            var renewed = old
            for field in renews { renewed[field] = object[field] }
            return renewed
        }
    }
}
