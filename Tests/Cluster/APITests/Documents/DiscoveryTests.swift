import ClusterAPI
import JSON
import Testing

private let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
private let clientGo =
    "\(aggregated),application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

@Suite("Discovery")
struct DiscoveryTests {
    static let discovery = Discovery(Schema.shared.resources, serverAddress: "10.0.0.1:6443")

    private func body(_ path: String, accept: String = "application/json") throws -> JSONValue {
        try JSONValue.parse(#require(Self.discovery.document(path, accept: accept)).bytes)
    }

    @Test(
        "the form is the first that the client names and we have",
        arguments: [
            (clientGo, Discovery.Form.aggregatedV2), ("application/json", .legacy), ("", .legacy), ("*/*", .legacy),
            (
                "application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io,application/json",
                .aggregatedV2Beta1
            ),
            ("application/json, \(aggregated)", .legacy),
            ("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList, application/json", .legacy),
        ])
    func forms(accept: String, form: Discovery.Form) {
        #expect(Discovery.Form(accept: accept) == form)
    }

    @Test("groups come in the order that names are resolved by")
    func order() throws {
        let groups = try body("/apis")["groups"]?.array?.compactMap { $0["name"]?.string } ?? []
        let expected = ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"]
        #expect(Array(groups.prefix(4)) == expected)
        let items = try body("/apis", accept: clientGo)["items"]?.array ?? []
        #expect(items.compactMap { $0["metadata"]?["name"]?.string } == groups)
    }

    @Test("versions come stable first, then by number")
    func versions() {
        let discovery = Discovery(
            ["v1alpha1", "v1", "v2beta1", "v1beta2", "v2", "odd"].map { version in
                let gvr = GroupVersionResource(group: "example.com", version: version, resource: "things")
                let gvk = GroupVersionKind(group: "example.com", version: version, kind: "Thing")
                return ResourceDescription(
                    gvr: gvr, gvk: gvk, singular: "thing", namespaced: true, verbs: ["get"], typeName: "x.v1.Thing",
                    storagePrefix: "/registry/things/", storageKind: gvk)
            }, serverAddress: "")
        let body = try? JSONValue.parse(discovery.document("/apis/example.com", accept: "")?.bytes ?? [])
        #expect(
            body?["versions"]?.array?.compactMap { $0["version"]?.string }
                == ["v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "odd"])
        #expect(body?["preferredVersion"]?["version"] == "v2")
    }

    @Test("a resource lists its verbs, short names, subresources and their kinds")
    func resources() throws {
        let core = try body("/api/v1")["resources"]?.array ?? []
        let pods = core.first { $0["name"] == "pods" }
        #expect(pods?["shortNames"] == ["po"])
        #expect(pods?["categories"] == ["all"])
        #expect(
            pods?["verbs"] == ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
        let eviction = core.first { $0["name"] == "pods/eviction" }
        #expect(eviction?["group"] == "policy")
        #expect(eviction?["kind"] == "Eviction")
        #expect(core.contains { $0["name"] == "pods/log" })
        #expect(!core.contains { $0["name"]?.string?.contains("{") ?? false })
        let scale = try body("/apis/apps/v1")["resources"]?.array?.first { $0["name"] == "deployments/scale" }
        #expect(scale?["group"] == "autoscaling")
        let groups = try body("/api", accept: clientGo)["items"]?.array ?? []
        let listed = groups.first?["versions"]?[0]?["resources"]?.array?.first { $0["resource"] == "pods" }
        #expect(listed?["responseKind"] == ["group": "", "kind": "Pod", "version": "v1"])
        #expect(listed?["subresources"]?.array?.contains { $0["subresource"] == "status" } == true)
    }

    @Test("an answer says which form it is, and its tag changes with its bytes")
    func headers() throws {
        let first = try #require(Self.discovery.document("/apis", accept: clientGo))
        #expect(first.contentType == aggregated)
        let second = try #require(Discovery([], serverAddress: "").document("/apis", accept: clientGo))
        #expect(first.etag != second.etag)
        #expect(
            Self.discovery.document("/apis/", accept: "")?.etag == Self.discovery.document("/apis", accept: "")?.etag)
        #expect(Self.discovery.document("/apis/none.example", accept: "") == nil)
    }
}
