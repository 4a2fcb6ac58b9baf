import JSON

/// Decides whether an object may be stored, beyond what its types say: names, required fields, ranges, and what may
/// not change. Answers with every problem it finds, in the words of upstream.
public enum ObjectValidation {
    /// Of an object about to be created, after defaulting.
    /// - Returns: nothing when it is fine; otherwise what `StatusError.invalid` takes.
    public static func create(_ object: JSONValue, _ kind: GroupVersionKind, namespaced: Bool) -> [FieldError] {
        let rules = KindRules.of(kind)
        var findings = Findings()
        MetadataRules.check(Field(object)["metadata"], namespaced: namespaced, name: rules.name, &findings)
        rules.check(Field(object), &findings)
        return findings.errors
    }

    /// Of an object about to replace `old`, after defaulting.
    /// - Parameter subresource: `status` and the like check only the metadata: each has its own rules elsewhere.
    public static func update(
        _ object: JSONValue, old: JSONValue, _ kind: GroupVersionKind, namespaced: Bool, subresource: String? = nil
    ) -> [FieldError] {
        let rules = KindRules.of(kind)
        var findings = Findings()
        MetadataRules.checkUpdate(Field(object)["metadata"], Field(old)["metadata"], &findings)
        guard subresource == nil else { return findings.errors }
        rules.check(Field(object), &findings)
        rules.checkUpdate(Field(object), Field(old), &findings)
        return findings.errors
    }

    /// What a client should know of an object that may be stored all the same; it goes out as a warning (KEP-1693).
    public static func remarks(_ object: JSONValue, _ kind: GroupVersionKind) -> [String] {
        KindRules.of(kind).remarks(Field(object))
    }

    /// What is wrong with a name for this kind; generated names are checked with their suffix.
    public static func nameProblems(_ name: String, _ kind: GroupVersionKind) -> [String] {
        KindRules.of(kind).name(name)
    }
}

/// The rules of one kind.
struct KindRules: Sendable {
    var name: @Sendable (String) -> [String] = Names.dns1123Subdomain
    var check: @Sendable (_ object: Field, _ findings: inout Findings) -> Void = { _, _ in }
    var checkUpdate: @Sendable (_ new: Field, _ old: Field, _ findings: inout Findings) -> Void = { _, _, _ in }

    var remarks: @Sendable (_ object: Field) -> [String] = { _ in [] }

    static func of(_ kind: GroupVersionKind) -> KindRules { table["\(kind.group)/\(kind.kind)"] ?? KindRules() }

    private static let table: [String: KindRules] = [
        "/Pod": KindRules(check: PodRules.check, checkUpdate: PodRules.checkUpdate),
        "/PodTemplate": KindRules(check: { PodRules.checkTemplate($0["template"], &$1) }),
        "/Service": KindRules(
            name: Names.dns1123Label, check: ServiceRules.check, checkUpdate: ServiceRules.checkUpdate),
        "/Endpoints": KindRules(check: EndpointsRules.check),
        "/Namespace": KindRules(name: Names.dns1123Label),
        "/Node": KindRules(check: NodeRules.check, checkUpdate: NodeRules.checkUpdate),
        "/ConfigMap": KindRules(check: ConfigRules.checkConfigMap, checkUpdate: ConfigRules.checkConfigMapUpdate),
        "/Secret": KindRules(check: ConfigRules.checkSecret, checkUpdate: ConfigRules.checkSecretUpdate),
        "/ServiceAccount": KindRules(),
        "/Event": KindRules(check: EventRules.check),
        "events.k8s.io/Event": KindRules(check: EventRules.check),
        "/ReplicationController": KindRules(check: WorkloadRules.checkReplicationController),
        "apps/Deployment": KindRules(
            check: WorkloadRules.checkDeployment, checkUpdate: WorkloadRules.selectorIsImmutable),
        "apps/ReplicaSet": KindRules(
            check: WorkloadRules.checkReplicaSet, checkUpdate: WorkloadRules.selectorIsImmutable),
        "apps/StatefulSet": KindRules(
            name: Names.dns1123Label, check: WorkloadRules.checkStatefulSet,
            checkUpdate: WorkloadRules.checkStatefulSetUpdate),
        "apps/DaemonSet": KindRules(
            check: WorkloadRules.checkDaemonSet, checkUpdate: WorkloadRules.selectorIsImmutable),
        "batch/Job": KindRules(check: WorkloadRules.checkJob, checkUpdate: WorkloadRules.checkJobUpdate),
        "batch/CronJob": KindRules(name: WorkloadRules.cronJobName, check: WorkloadRules.checkCronJob),
        "discovery.k8s.io/EndpointSlice": KindRules(
            check: EndpointsRules.checkSlice, checkUpdate: EndpointsRules.checkSliceUpdate),
        "networking.k8s.io/NetworkPolicy": KindRules(check: NetworkRules.checkPolicy),
        "networking.k8s.io/Ingress": KindRules(check: NetworkRules.checkIngress),
        "networking.k8s.io/IngressClass": KindRules(checkUpdate: NetworkRules.checkIngressClassUpdate),
        "networking.k8s.io/ServiceCIDR": KindRules(
            check: NetworkRules.checkServiceCIDR, checkUpdate: NetworkRules.checkServiceCIDRUpdate),
        "networking.k8s.io/IPAddress": KindRules(name: NetworkRules.canonicalAddress),
        "gateway.networking.k8s.io/GatewayClass": KindRules(
            check: GatewayRules.checkClass, checkUpdate: GatewayRules.checkClassUpdate),
        "gateway.networking.k8s.io/Gateway": KindRules(check: GatewayRules.checkGateway),
        "gateway.networking.k8s.io/ListenerSet": KindRules(check: GatewayRules.checkListenerSet),
        "gateway.networking.k8s.io/ReferenceGrant": KindRules(check: GatewayRules.checkReferenceGrant),
        "gateway.networking.k8s.io/BackendTLSPolicy": KindRules(check: GatewayRules.checkBackendTLSPolicy),
        "gateway.networking.k8s.io/HTTPRoute": KindRules(check: RouteRules.checkHTTP),
        "gateway.networking.k8s.io/GRPCRoute": KindRules(check: RouteRules.checkGRPC),
        "gateway.networking.k8s.io/TLSRoute": KindRules(check: RouteRules.checkTLS),
        "gateway.networking.k8s.io/TCPRoute": KindRules(check: RouteRules.checkStream),
        "gateway.networking.k8s.io/UDPRoute": KindRules(check: RouteRules.checkStream),
        "security.istio.io/PeerAuthentication": KindRules(check: MeshPolicyRules.checkPeers),
        "security.istio.io/RequestAuthentication": KindRules(
            check: MeshPolicyRules.checkRequests, remarks: MeshPolicyRules.remarks),
        "security.istio.io/AuthorizationPolicy": KindRules(
            check: MeshPolicyRules.checkAuthorization, remarks: MeshPolicyRules.remarks),
        "coordination.k8s.io/Lease": KindRules(check: PolicyRules.checkLease),
        "policy/PodDisruptionBudget": KindRules(check: PolicyRules.checkDisruptionBudget),
        "scheduling.k8s.io/PriorityClass": KindRules(checkUpdate: PolicyRules.checkPriorityClassUpdate),
        "rbac.authorization.k8s.io/Role": KindRules(name: Names.pathSegment),
        "rbac.authorization.k8s.io/ClusterRole": KindRules(name: Names.pathSegment),
        "rbac.authorization.k8s.io/RoleBinding": KindRules(
            name: Names.pathSegment, check: PolicyRules.checkBinding, checkUpdate: PolicyRules.checkBindingUpdate),
        "rbac.authorization.k8s.io/ClusterRoleBinding": KindRules(
            name: Names.pathSegment, check: PolicyRules.checkBinding, checkUpdate: PolicyRules.checkBindingUpdate),
    ]
}
