import JSON
import Testing

@testable import ClusterAPI

@Suite struct ConformanceTests {
    static let pod = GroupVersionKind(kind: "Pod")
    static let deployment = GroupVersionKind(group: "apps", kind: "Deployment")

    func conform(_ text: String, _ kind: GroupVersionKind) throws -> (object: JSONValue, unknown: [String]) {
        try Conformance.shared.conform(JSONValue.parse(text), to: kind)
    }

    @Test("unknown members go, and are told by their paths") func unknown() throws {
        let (object, unknown) = try conform(
            #"{"kind":"Pod","bogus":1,"spec":{"containers":[{"name":"a"},{"name":"b","imag":"x","ports":[{"containerPort":1,"prot":2}]}],"foo":{"bar":1}},"metadata":{"labels":{"any":"thing"},"nam":1}}"#,
            Self.pod)
        #expect(
            unknown == [
                #"unknown field "bogus""#, #"unknown field "metadata.nam""#,
                #"unknown field "spec.containers[1].imag""#, #"unknown field "spec.containers[1].ports[0].prot""#,
                #"unknown field "spec.foo""#,
            ])
        #expect(
            object == [
                "kind": "Pod", "metadata": ["labels": ["any": "thing"]],
                "spec": ["containers": [["name": "a"], ["name": "b", "ports": [["containerPort": 1]]]]],
            ])
    }

    @Test("nulls and zeros that mean nothing go, pointers' zeros stay") func zeros() throws {
        let (object, unknown) = try conform(
            #"{"metadata":{"name":"d","creationTimestamp":null,"namespace":"","labels":{}},"spec":{"replicas":0,"minReadySeconds":0,"paused":false,"strategy":{},"template":{"metadata":{"creationTimestamp":null},"spec":{"containers":[{"name":"c","resources":{},"command":[]}],"securityContext":{},"hostNetwork":false,"automountServiceAccountToken":false,"volumes":[{"name":"v","emptyDir":{}}]}}},"status":{}}"#,
            Self.deployment)
        #expect(unknown.isEmpty)
        #expect(
            object == [
                "metadata": ["name": "d"],
                "spec": [
                    "replicas": 0,
                    "template": [
                        "spec": [
                            "automountServiceAccountToken": false, "containers": [["name": "c"]],
                            "securityContext": [:],
                            "volumes": [["emptyDir": [:], "name": "v"]],
                        ]
                    ],
                ],
            ])
    }

    @Test("what conforms is returned as it is, whatever its encoding was", arguments: KubectlBodies.pairs.indices)
    func idempotent(index: Int) throws {
        let object = try JSONValue.parse(KubectlBodies.pairs[index].json)
        let kind = try #require(
            GroupVersionKind(apiVersion: object["apiVersion"]?.string ?? "", kind: object["kind"]?.string ?? ""))
        let once = try Conformance.shared.conform(object, to: kind)
        #expect(once.unknown.isEmpty)
        #expect(try Conformance.shared.conform(once.object, to: kind).object == once.object)
        let viaProtobuf = try ProtobufCodec.shared.decode(ProtobufCodec.shared.encode(object))
        #expect(try Conformance.shared.conform(viaProtobuf, to: kind).object == once.object)
    }

    @Test("amounts and times take their canonical form") func canonical() throws {
        let (object, _) = try conform(
            #"{"metadata":{"deletionTimestamp":"2026-01-02T04:04:05.5+01:00"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}]}}"#,
            Self.pod)
        #expect(object["metadata"]?["deletionTimestamp"] == "2026-01-02T03:04:05Z")
        #expect(object["spec"]?["containers"]?[0]?["resources"]?["limits"] == ["cpu": "500m", "memory": "1Gi"])
    }

    @Test("lists that clients rely on are there, empty") func lists() throws {
        let slice = GroupVersionKind(group: "discovery.k8s.io", kind: "EndpointSlice")
        #expect(
            try conform(#"{"addressType":"IPv4","endpoints":null}"#, slice).object
                == ["addressType": "IPv4", "endpoints": [], "ports": []])
    }

    @Test(
        "a value of another type is refused in the words of Go",
        arguments: [
            (
                #"{"spec":{"replicas":"3"}}"#,
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
            ),
            (
                #"{"spec":{"replicas":3000000000}}"#,
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ),
            (
                #"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
            ),
            (
                #"{"spec":{"template":{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}}}"#,
                "json: cannot unmarshal string into Go struct field ContainerPort.spec.template.spec.containers.ports.containerPort of type int32"
            ),
            (
                #"{"metadata":{"labels":{"a":1}}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
            ),
            (
                #"{"spec":3}"#,
                "json: cannot unmarshal number into Go struct field Deployment.spec of type v1.DeploymentSpec"
            ),
            ("[]", "json: cannot unmarshal array into Go value of type v1.Deployment"),
        ])
    func mismatch(text: String, message: String) {
        let error = #expect(throws: CodecError.self) { try conform(text, Self.deployment) }
        #expect(error?.message == message)
    }

    @Test("the place of a wrong value has its indexes") func place() {
        let error = #expect(throws: CodecError.self) {
            try conform(#"{"spec":{"containers":[{"name":"a"},{"name":"b","args":["x",1]}]}}"#, Self.pod)
        }
        #expect(error?.path == "spec.containers[1].args[1]")
    }

    @Test("members that the schema requires are found missing by their paths") func required() throws {
        let missing = Conformance.shared.missingRequiredFields(
            in: ["spec": ["selector": [:], "template": ["spec": ["containers": [[:]]]]]], of: Self.deployment)
        #expect(missing == ["spec.template.spec.containers[0].name"])
    }
}
