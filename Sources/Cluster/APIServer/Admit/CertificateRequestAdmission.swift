import ClusterAPI
import JSON

/// Who asks for a certificate is written into the request by the server, whatever the request says of itself: signers go by it.
struct CertificateRequestAdmission: AdmissionPlugin {
    private static let resource = GroupVersionResource(
        group: "certificates.k8s.io", resource: "certificatesigningrequests")

    func admit(
        _ object: inout JSONValue, old: JSONValue?, _ call: APICall, in registry: Registry
    ) async throws(StatusError) {
        guard old == nil, call.resource.gvr == Self.resource, call.subresource.isEmpty else { return }
        var spec = object["spec"] ?? [:]
        let user = call.user.json
        for field in ["username", "uid", "groups", "extra"] { spec[field] = user[field] }
        object["spec"] = spec
    }
}
