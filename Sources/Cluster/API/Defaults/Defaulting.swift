public import JSON

/// The values that fields have when nobody sets them. Pure; what needs allocators, the time or other objects (cluster
/// addresses, node ports, service account names, generated selectors) is done by the server when it creates an object.
public enum Defaulting {
    /// Fills what is absent in an object of a kind that went through `Conformance`. Applying it again changes nothing.
    public static func apply(to object: inout JSONValue, of kind: GroupVersionKind) {
        guard case .object(var members) = object, let rule = rule(of: kind) else { return }
        object = .null
        rule(&members)
        object = .object(members)
    }

    private typealias Rule = (inout JSONObject) -> Void

    private static func rule(of kind: GroupVersionKind) -> Rule? {
        switch (kind.group, kind.kind) {
        case ("", "Pod"): PodDefaults.pod
        case ("", "PodTemplate"): { $0.within("template", PodDefaults.template) }
        case ("", "ReplicationController"): WorkloadDefaults.replicationController
        case ("apps", "Deployment"): WorkloadDefaults.deployment
        case ("apps", "ReplicaSet"): WorkloadDefaults.replicaSet
        case ("apps", "StatefulSet"): WorkloadDefaults.statefulSet
        case ("apps", "DaemonSet"): WorkloadDefaults.daemonSet
        case ("batch", "Job"): WorkloadDefaults.job
        case ("batch", "CronJob"): WorkloadDefaults.cronJob
        case ("autoscaling", "HorizontalPodAutoscaler"): WorkloadDefaults.horizontalPodAutoscaler
        case ("", "Service"): NetworkDefaults.service
        case ("", "Endpoints"): NetworkDefaults.endpoints
        case ("discovery.k8s.io", "EndpointSlice"): NetworkDefaults.endpointSlice
        case ("networking.k8s.io", "NetworkPolicy"): NetworkDefaults.networkPolicy
        case ("gateway.networking.k8s.io", "GatewayClass"): GatewayDefaults.gatewayClass
        case ("gateway.networking.k8s.io", "Gateway"): GatewayDefaults.gateway
        case ("gateway.networking.k8s.io", "ListenerSet"): GatewayDefaults.listenerSet
        case ("gateway.networking.k8s.io", "HTTPRoute"): GatewayDefaults.httpRoute
        case ("gateway.networking.k8s.io", "GRPCRoute"): GatewayDefaults.grpcRoute
        case ("gateway.networking.k8s.io", "TLSRoute"), ("gateway.networking.k8s.io", "TCPRoute"),
            ("gateway.networking.k8s.io", "UDPRoute"):
            GatewayDefaults.streamRoute
        case ("", "Namespace"): ClusterDefaults.namespace
        case ("", "Node"): ClusterDefaults.node
        case ("", "Secret"): ClusterDefaults.secret
        case ("", "LimitRange"): ClusterDefaults.limitRange
        case ("", "PersistentVolume"): ClusterDefaults.persistentVolume
        case ("", "PersistentVolumeClaim"): ClusterDefaults.persistentVolumeClaim
        case ("storage.k8s.io", "StorageClass"): ClusterDefaults.storageClass
        case ("storage.k8s.io", "CSIDriver"): ClusterDefaults.csiDriver
        case ("scheduling.k8s.io", "PriorityClass"): { $0.setDefault("preemptionPolicy", "PreemptLowerPriority") }
        case ("rbac.authorization.k8s.io", "RoleBinding"), ("rbac.authorization.k8s.io", "ClusterRoleBinding"):
            ClusterDefaults.roleBinding
        case ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): ClusterDefaults.mutatingWebhooks
        case ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): ClusterDefaults.webhooks
        case ("apiextensions.k8s.io", "CustomResourceDefinition"): ClusterDefaults.customResourceDefinition
        case ("authentication.k8s.io", "TokenRequest"):
            { $0.ensuring("spec") { $0.setDefault("expirationSeconds", 3600) } }
        default: nil
        }
    }
}
