import Bytes
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

    @Test(
        "base64 is kept in the form that encoders write",
        arguments: [
            ("YQ==", "YQ=="), ("YR==", "YQ=="), ("YWI=", "YWI="), ("YWJ=", "YWI="), ("YWJj", "YWJj"),
            ("YW\nJj\n", "YWJj"),
            ("YQ", nil), ("YQ=", nil), ("Y===", nil), ("YQ==YQ==", nil), ("Y-==", nil), ("====", nil),
        ] as [(String, String?)])
    func base64(text: String, expected: String?) {
        let secret: JSONValue = ["data": ["k": .string(text)]]
        let conformed = try? Conformance.shared.conform(secret, to: GroupVersionKind(kind: "Secret")).object
        #expect(conformed?["data"]?["k"]?.string == expected)
    }

    /// Replaces random values within by random ones.
    static func mutate(_ value: JSONValue, _ generator: inout SplitMix64) -> JSONValue {
        if Int.random(in: 0..<40, using: &generator) == 0 {
            let values: [JSONValue] = [
                .null, true, 0, -1, 1.5, "", "x", [], [:], [.null], ["a": .null], ["a": "b"], ["x"], 3_000_000_000,
                "2026-01-02T03:04:05Z", "1Gi", "YR==", [[:]], ["a": [:]],
            ]
            return values.randomElement(using: &generator) ?? .null
        }
        switch value {
        case .array(let elements): return .array(elements.map { mutate($0, &generator) })
        case .object(let object):
            var changed = JSONObject()
            for (key, member) in object { changed[key] = mutate(member, &generator) }
            return .object(changed)
        default: return value
        }
    }

    /// The first place where two values differ, with what stands there.
    static func difference(_ a: JSONValue?, _ b: JSONValue?, at path: String = "") -> String {
        if case .object(let x)? = a, case .object(let y)? = b {
            for key in Set(x.keys).union(y.keys).sorted() where x[key] != y[key] {
                return difference(x[key], y[key], at: "\(path).\(key)")
            }
        }
        if case .array(let x)? = a, case .array(let y)? = b, x.count == y.count {
            for index in x.indices where x[index] != y[index] {
                return difference(x[index], y[index], at: "\(path)[\(index)]")
            }
        }
        return "\(path): \(a?.description ?? "absent") instead of \(b?.description ?? "absent")"
    }

    @Test("whatever conforms survives protobuf", arguments: [1, 2, 3] as [UInt64]) func protobuf(seed: UInt64) throws {
        var generator = SplitMix64(seed: seed)
        var accepted = 0
        for resource in Schema.shared.resources where ProtobufCodec.shared.canEncode(resource.gvk) {
            let type = try #require(Schema.shared.typeIndex(of: resource.gvk))
            for _ in 0..<20 {
                let object = Self.mutate(ProtobufCodecTests.sample(type, .shared, 5), &generator)
                guard let conformed = try? Conformance.shared.conform(object, to: resource.gvk).object,
                    case .object = conformed
                else { continue }
                accepted += 1
                var kept = conformed
                kept["apiVersion"] = .string(resource.gvk.apiVersion)
                kept["kind"] = .string(resource.gvk.kind)
                let again = try Conformance.shared.conform(kept, to: resource.gvk)
                #expect(again.object == kept && again.unknown.isEmpty, "\(resource.gvk)")
                let decoded = try ProtobufCodec.shared.decode(ProtobufCodec.shared.encode(kept))
                let restored = try Conformance.shared.conform(decoded, to: resource.gvk).object
                if restored != kept { Issue.record("\(resource.gvk): \(Self.difference(restored, kept))") }
            }
        }
        #expect(accepted > 100)
    }
}
