import ClusterAPI
import JSON

/// What one kind does differently from the rest on its way into the store. Most kinds do nothing differently.
protocol ResourceStrategy: Sendable {
    /// Whether `status` belongs to its own subresource, so that other writes leave it alone.
    var hasStatus: Bool { get }
    /// Subresources besides `status` that write some of the status.
    var statusWriters: Set<String> { get }
    /// Whether `metadata.generation` counts changes of what is wanted.
    var hasGeneration: Bool { get }
    /// Whether PUT of a name that does not exist creates it.
    var createsOnUpdate: Bool { get }
    /// Whether PUT must say which version it replaces.
    var requiresResourceVersion: Bool { get }
    /// Whether an immediate delete answers with the object and not with a Status.
    var returnsDeletedObject: Bool { get }

    /// Sets what a new object starts with. Runs after defaults.
    func prepareForCreate(_ object: inout JSONValue)
    /// Restores what this update may not touch.
    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String)
    func prepareForStatusUpdate(_ object: inout JSONValue, old: JSONValue)
    /// Brings the object into the form that is stored. Runs last before validation, on creates and updates alike.
    func canonicalize(_ object: inout JSONValue)
    /// Marks a dying object beyond its metadata.
    func prepareForDelete(_ object: inout JSONValue)
    /// Seconds between the request to delete and the end.
    func gracePeriod(_ object: JSONValue, asked: Int64?) -> Int64
    /// Whether a dying object without finalizers may go.
    func mayVanish(_ object: JSONValue) -> Bool
}

extension ResourceStrategy {
    var hasStatus: Bool { false }
    // Binding writes the PodScheduled condition beside the node's name.
    var statusWriters: Set<String> { ["binding"] }
    var hasGeneration: Bool { false }
    var createsOnUpdate: Bool { false }
    var requiresResourceVersion: Bool { false }
    var returnsDeletedObject: Bool { false }

    func prepareForCreate(_ object: inout JSONValue) { if hasStatus { object["status"] = nil } }
    func prepareForUpdate(_ object: inout JSONValue, old: JSONValue, subresource: String) {}
    func prepareForStatusUpdate(_ object: inout JSONValue, old: JSONValue) {}
    func canonicalize(_ object: inout JSONValue) {}
    func prepareForDelete(_ object: inout JSONValue) {}
    func gracePeriod(_ object: JSONValue, asked: Int64?) -> Int64 { 0 }
    func mayVanish(_ object: JSONValue) -> Bool { true }
}

/// A kind without ways of its own; what differs between such kinds is data.
struct PlainStrategy: ResourceStrategy {
    var hasStatus = false
    var hasGeneration = false
    var createsOnUpdate = false
    var requiresResourceVersion = false
    var returnsDeletedObject = false
}

/// The strategy of each kind.
enum Strategies {
    static func of(_ kind: GroupVersionKind) -> any ResourceStrategy {
        special["\(kind.group)/\(kind.kind)"] ?? plain["\(kind.group)/\(kind.kind)"] ?? PlainStrategy()
    }

    private static let special: [String: any ResourceStrategy] = [
        "/Pod": PodStrategy(),
        "/Service": ServiceStrategy(),
        "/Namespace": NamespaceStrategy(),
        "/Node": NodeStrategy(),
        "/Secret": SecretStrategy(),
        "batch/Job": JobStrategy(),
        "certificates.k8s.io/CertificateSigningRequest": CertificateSigningRequestStrategy(),
    ]

    private static let plain: [String: PlainStrategy] = {
        var table: [String: PlainStrategy] = [:]
        func set(_ kinds: [String], _ change: (inout PlainStrategy) -> Void) {
            for kind in kinds { change(&table[kind, default: PlainStrategy()]) }
        }
        set([
            "apps/Deployment", "apps/ReplicaSet", "apps/StatefulSet", "apps/DaemonSet", "/ReplicationController",
            "batch/CronJob", "networking.k8s.io/Ingress", "networking.k8s.io/ServiceCIDR", "policy/PodDisruptionBudget",
            "apiextensions.k8s.io/CustomResourceDefinition", "flowcontrol.apiserver.k8s.io/FlowSchema",
            "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
            "admissionregistration.k8s.io/ValidatingAdmissionPolicy", "gateway.networking.k8s.io/GatewayClass",
            "gateway.networking.k8s.io/Gateway", "gateway.networking.k8s.io/ListenerSet",
            "gateway.networking.k8s.io/HTTPRoute", "gateway.networking.k8s.io/GRPCRoute",
            "gateway.networking.k8s.io/TLSRoute", "gateway.networking.k8s.io/TCPRoute",
            "gateway.networking.k8s.io/UDPRoute", "gateway.networking.k8s.io/BackendTLSPolicy",
            "security.istio.io/PeerAuthentication", "security.istio.io/AuthorizationPolicy",
            "security.istio.io/RequestAuthentication",
        ]) {
            $0.hasStatus = true
            $0.hasGeneration = true
        }
        set([
            "autoscaling/HorizontalPodAutoscaler", "/ResourceQuota", "/PersistentVolume", "/PersistentVolumeClaim",
            "apiregistration.k8s.io/APIService", "storage.k8s.io/VolumeAttachment", "resource.k8s.io/ResourceClaim",
        ]) { $0.hasStatus = true }
        set([
            "networking.k8s.io/NetworkPolicy", "networking.k8s.io/IngressClass", "discovery.k8s.io/EndpointSlice",
            "gateway.networking.k8s.io/ReferenceGrant",
            "scheduling.k8s.io/PriorityClass", "admissionregistration.k8s.io/MutatingWebhookConfiguration",
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
            "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding",
        ]) { $0.hasGeneration = true }
        set([
            "/Endpoints", "/Event", "events.k8s.io/Event", "coordination.k8s.io/Lease", "/LimitRange",
            "node.k8s.io/RuntimeClass", "rbac.authorization.k8s.io/Role", "rbac.authorization.k8s.io/RoleBinding",
            "rbac.authorization.k8s.io/ClusterRole", "rbac.authorization.k8s.io/ClusterRoleBinding",
        ]) { $0.createsOnUpdate = true }
        set([
            "apiextensions.k8s.io/CustomResourceDefinition", "coordination.k8s.io/Lease", "policy/PodDisruptionBudget",
            "admissionregistration.k8s.io/MutatingWebhookConfiguration",
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration", "node.k8s.io/RuntimeClass",
            "storage.k8s.io/CSIDriver", "storage.k8s.io/CSINode", "storage.k8s.io/VolumeAttachment",
        ]) { $0.requiresResourceVersion = true }
        set(["/PersistentVolumeClaim", "/PodTemplate", "/ServiceAccount"]) { $0.returnsDeletedObject = true }
        return table
    }()
}
