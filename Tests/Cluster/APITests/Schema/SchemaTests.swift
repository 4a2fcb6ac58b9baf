import Testing

@testable import ClusterAPI

@Suite struct SchemaTests {
    let schema = Schema.shared

    @Test("every resource's objects have a type with metadata, and its list type is there")
    func resourcesHaveTypes() throws {
        #expect(schema.resources.count > 60)
        for resource in schema.resources {
            let type = try #require(schema.type(resource.typeName))
            #expect(type.fields.contains { $0.name == "metadata" }, "\(resource.gvk)")
            if resource.serves("list") { #expect(schema.typeName(of: resource.listKind) != nil, "\(resource.gvk)") }
        }
    }

    @Test("every field but an object's kind and version has a protobuf number, and no two of a type share one")
    func fieldNumbers() {
        // The kinds of the Gateway API and of Istio are custom resources upstream, which have no protobuf form.
        let custom = ["gateway.", "istio."]
        for type in schema.types where type.scalar == nil && !custom.contains(where: { type.name.hasPrefix($0) }) {
            let carried = type.fields.filter { !["kind", "apiVersion"].contains($0.name) || !$0.protobufPath.isEmpty }
            for field in carried { #expect(!field.protobufPath.isEmpty, "\(type.name).\(field.name)") }
            #expect(Set(carried.map(\.protobufPath)).count == carried.count, "\(type.name)")
        }
    }

    @Test("a pod's containers merge by name")
    func containers() throws {
        let spec = try #require(schema.type("core.v1.PodSpec"))
        let containers = try #require(spec.fields.first { $0.name == "containers" })
        #expect(containers.type == .list(.reference("core.v1.Container")))
        #expect(containers.required && containers.listKind == .map && containers.listMapKeys == ["name"])
        #expect(containers.patchStrategy == .merge && containers.patchMergeKey == "name")
        #expect(containers.protobufPath == [2])
    }

    @Test(
        "resources are kept where upstream keeps them",
        arguments: [
            (GroupVersionResource.nodes, "/registry/minions/n"),
            (.services, "/registry/services/specs/ns/n"),
            (.endpoints, "/registry/services/endpoints/ns/n"),
            (.pods, "/registry/pods/ns/n"),
            (.deployments, "/registry/deployments/ns/n"),
            (.leases, "/registry/leases/ns/n"),
            (GroupVersionResource(group: "events.k8s.io", resource: "events"), "/registry/events/ns/n"),
            (
                GroupVersionResource(group: "apiextensions.k8s.io", resource: "customresourcedefinitions"),
                "/registry/apiextensions.k8s.io/customresourcedefinitions/n"
            ),
        ])
    func storageKeys(gvr: GroupVersionResource, key: String) throws {
        let resource = try #require(schema.resource(gvr))
        #expect(resource.storageKey(ObjectKey(namespace: "ns", name: "n")) == key)
    }

    @Test("options and Status have their type under every group") func metaKinds() {
        #expect(
            schema.typeName(of: GroupVersionKind(group: "apps", kind: "DeleteOptions")) == "apis.meta.v1.DeleteOptions")
        #expect(schema.typeName(of: GroupVersionKind(kind: "Status")) == "apis.meta.v1.Status")
        #expect(schema.typeName(of: GroupVersionKind(group: "apps", kind: "Pod")) == nil)
    }

    @Test(
        "an apiVersion is a version, or a group and a version",
        arguments: [
            ("v1", "", "v1"), ("apps/v1", "apps", "v1"), ("a.b/v1", "a.b", "v1"), ("", nil, nil), ("apps/", nil, nil),
            ("a/b/c", nil, nil),
        ] as [(String, String?, String?)])
    func apiVersion(text: String, group: String?, version: String?) {
        let kind = GroupVersionKind(apiVersion: text, kind: "K")
        #expect(kind?.group == group && kind?.version == version)
        #expect(GroupVersionKind(apiVersion: text, kind: "") == nil)
    }
}
