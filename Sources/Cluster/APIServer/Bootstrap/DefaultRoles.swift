import JSON

/// The roles that people expect in every cluster, under upstream's names: `cluster-admin`, and `edit` and `view`, which a RoleBinding
/// gives for a namespace. What is added to them is labelled as upstream has it (`rbac.authorization.k8s.io/aggregate-to-view`).
enum DefaultRoles {
    struct Role {
        let name: String
        var labels: [String: String] = [:]
        var rules: [JSONValue] = []
        /// Labels of those whose rules it has, too.
        var aggregates: [String] = []
    }

    static let all = [
        Role(name: "cluster-admin", rules: [rule(["*"], ["*"], ["*"]), ["nonResourceURLs": ["*"], "verbs": ["*"]]]),
        Role(name: "edit", aggregates: [toEdit, toView]),
        Role(name: "system:aggregate-to-edit", labels: [toEdit: "true"], rules: edits),
        Role(name: "view", aggregates: [toView]),
        Role(name: "system:aggregate-to-view", labels: [toView: "true"], rules: views),
    ]

    private static let toEdit = "rbac.authorization.k8s.io/aggregate-to-edit"
    private static let toView = "rbac.authorization.k8s.io/aggregate-to-view"

    private static let reading = ["get", "list", "watch"]
    private static let writing = ["create", "delete", "deletecollection", "patch", "update"]

    /// What people make, by group; all in namespaces. The kinds of routes and of the mesh's policies are among them, since it is the owners of
    /// applications who write them.
    private static let kinds: [(group: String, resources: [String])] = [
        (
            "",
            [
                "configmaps", "endpoints", "persistentvolumeclaims", "pods", "replicationcontrollers",
                "replicationcontrollers/scale", "serviceaccounts", "services",
            ]
        ),
        (
            "apps",
            [
                "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
                "statefulsets/scale",
            ]
        ),
        ("autoscaling", ["horizontalpodautoscalers"]),
        ("batch", ["cronjobs", "jobs"]),
        ("networking.k8s.io", ["ingresses", "networkpolicies"]),
        ("policy", ["poddisruptionbudgets"]),
        ("gateway.networking.k8s.io", ["*"]),
        ("security.istio.io", ["*"]),
    ]

    /// Not secrets: who reads them may become whoever they belong to. Neither roles nor bindings.
    private static let views =
        kinds.map { rule([$0.group], $0.resources, reading) } + [
            rule(
                [""],
                [
                    "bindings", "events", "limitranges", "namespaces", "namespaces/status",
                    "persistentvolumeclaims/status", "pods/log",
                    "pods/status", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status",
                    "services/status",
                ], reading),
            rule(
                ["apps"],
                [
                    "controllerrevisions", "daemonsets/status", "deployments/status", "replicasets/status",
                    "statefulsets/status",
                ], reading),
            rule(["autoscaling"], ["horizontalpodautoscalers/status"], reading),
            rule(["batch"], ["cronjobs/status", "jobs/status"], reading),
            rule(["discovery.k8s.io"], ["endpointslices"], reading),
            rule(["networking.k8s.io"], ["ingresses/status"], reading),
            rule(["policy"], ["poddisruptionbudgets/status"], reading),
        ]

    private static let edits =
        kinds.map { rule([$0.group], $0.resources, writing) } + [
            rule(
                [""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy", "secrets"],
                reading),
            rule(
                [""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy", "secrets"],
                writing),
            rule([""], ["pods/eviction", "serviceaccounts/token"], ["create"]),
            rule([""], ["events"], ["create", "patch", "update"]),
            rule([""], ["serviceaccounts"], ["impersonate"]),
            rule(["apps"], ["deployments/rollback"], writing),
            rule(["coordination.k8s.io"], ["leases"], reading + writing),
        ]

    private static func rule(_ groups: [String], _ resources: [String], _ verbs: [String]) -> JSONValue {
        func list(_ words: [String]) -> JSONValue { .array(words.map { .string($0) }) }
        return ["apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)]
    }
}
