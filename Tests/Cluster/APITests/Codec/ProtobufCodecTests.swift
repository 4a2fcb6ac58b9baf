import Bytes
import JSON
import Testing

@testable import ClusterAPI

@Suite struct ProtobufCodecTests {
    let codec = ProtobufCodec.shared

    /// Without what Go's JSON shows of values that nobody set.
    static func bare(_ value: JSONValue) -> JSONValue? {
        switch value {
        case .null: nil
        case .object(let object):
            JSONValue.object(JSONObject(object.compactMap { key, value in bare(value).map { (key, $0) } })).nonEmpty
        case .array(let elements): .array(elements.map { bare($0) ?? [:] })
        default: value
        }
    }

    @Test(
        "what kubectl 1.33 sends in protobuf is what kubectl 1.31 sends in JSON", arguments: KubectlBodies.pairs.indices
    )
    func kubectl(index: Int) throws {
        let pair = KubectlBodies.pairs[index]
        let expected = try JSONValue.parse(pair.json)
        let object = try codec.decode(try #require(Hex.decode(pair.protobuf)))
        #expect(Self.bare(object) == Self.bare(expected))
        #expect(try codec.decode(try codec.encode(object)) == object)
        #expect(Self.bare(try codec.decode(try codec.encode(expected))) == Self.bare(expected))
    }

    @Test("a truncated or changed body is read or refused, and nothing traps", arguments: KubectlBodies.pairs.indices)
    func damage(index: Int) throws {
        let bytes = try #require(Hex.decode(KubectlBodies.pairs[index].protobuf))
        for count in 0..<bytes.count { _ = try? codec.decode(Array(bytes[..<count])) }
        for position in bytes.indices {
            for change in [0x01, 0x08, 0x80, 0xff] as [UInt8] {
                var damaged = bytes
                damaged[position] ^= change
                if let object = try? codec.decode(damaged) { _ = try? codec.encode(object) }
            }
        }
    }

    /// A deterministic object of a type with every field set, one level of each recursive type.
    static func sample(_ type: Int, _ schema: Schema, _ depth: Int = 0) -> JSONValue {
        var object = JSONObject()
        for code in schema.fieldCodes[schema.typeCodes[type].fields] where code.number != 0 {
            let name = schema.name(of: code)
            if depth > 7, code.shape == .message || code.shape.rawValue >= FieldCode.Shape.propsOrBool.rawValue {
                continue
            }
            func one(_ seed: Int) -> JSONValue {
                switch code.shape {
                case .string: .string("\(name)-\(seed)")
                case .bytes: .string(Base64.encode([UInt8](repeating: UInt8(seed), count: seed + 1)))
                case .bool: true
                case .int32: .int(Int64(Int32.min) + Int64(seed))
                case .int64: .int(.max - Int64(seed))
                case .double: .double(0.5 + Double(seed))
                case .quantity: .string("\(seed + 1)5m")
                case .time: "2026-01-02T03:04:05Z"
                case .microTime: "2026-01-02T03:04:05.000006Z"
                case .intOrString: seed == 0 ? "50%" : 8080
                case .raw: ["raw": .int(Int64(seed))]
                case .json: ["any", 1, true]
                case .propsOrBool: false
                case .propsOrArray: [["type": "string"], ["type": "integer"]]
                case .propsOrStrings: ["a", "b"]
                case .message: sample(Int(code.message), schema, depth + 1)
                }
            }
            switch code.container {
            case .single: object[name] = one(1)
            case .list: object[name] = [one(0), one(1)]
            case .map: object[name] = .object(["k0": one(0), "k1": one(1)])
            case .mapOfLists: object[name] = ["k0": ["a", "b"], "k1": []]
            }
        }
        return .object(object)
    }

    @Test("every field of every served kind survives protobuf") func everyField() throws {
        let schema = Schema.shared
        for resource in schema.resources where codec.canEncode(resource.gvk) {
            let type = try #require(schema.typeIndex(of: resource.gvk))
            // The full tree of a pod template is large; two branches a list are enough below the spec.
            var object = Self.sample(type, schema, 4)
            object["apiVersion"] = .string(resource.gvk.apiVersion)
            object["kind"] = .string(resource.gvk.kind)
            let bytes = try codec.encode(object)
            #expect(try codec.decode(bytes) == object, "\(resource.gvk)")
        }
    }

    @Test("zeros that a pointer holds are values, all others are not there") func zeros() throws {
        let deployment: JSONValue = [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": ""],
            "spec": [
                "replicas": 0, "minReadySeconds": 0, "paused": false,
                "template": ["spec": ["automountServiceAccountToken": false]],
            ],
        ]
        let decoded = try codec.decode(try codec.encode(deployment))
        #expect(decoded["metadata"]?["name"] == nil)
        #expect(decoded["spec"]?["replicas"] == 0)
        #expect(decoded["spec"]?["minReadySeconds"] == nil)
        #expect(decoded["spec"]?["paused"] == nil)
        #expect(decoded["spec"]?["template"]?["spec"]?["automountServiceAccountToken"] == false)
    }

    @Test("an empty message is kept where a pointer holds it") func emptyMessages() throws {
        let pod: JSONValue = [
            "apiVersion": "v1", "kind": "Pod",
            "spec": ["volumes": [["name": "tmp", "emptyDir": [:]]], "containers": [["name": "c", "resources": [:]]]],
        ]
        let decoded = try codec.decode(try codec.encode(pod))
        #expect(decoded["spec"]?["volumes"]?[0] == ["name": "tmp", "emptyDir": [:]])
        #expect(decoded["spec"]?["containers"]?[0] == ["name": "c"])
    }

    @Test("a watch frame carries its type and object") func watchFrame() throws {
        let object: JSONValue = [
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a"], "data": ["k": "v"],
        ]
        let frame = codec.watchFrame(type: "ADDED", encodedObject: try codec.encode(object))
        let length = frame[..<4].reduce(0) { $0 << 8 | Int($1) }
        #expect(length == frame.count - 4)
        let event = try frame.withUnsafeBytes { bytes in
            Result { () throws(CodecError) in try codec.decodeWatchEvent(UnsafeRawBufferPointer(rebasing: bytes[4...]))
            }
        }.get()
        #expect(event.type == "ADDED")
        #expect(event.object == object)
    }

    @Test("what does not fit the schema names its place") func mismatch() {
        let bad: JSONValue = [
            "apiVersion": "v1", "kind": "Pod",
            "spec": ["containers": [["name": "c", "ports": [["containerPort": "x"]]]]],
        ]
        #expect(throws: CodecError(path: "spec.containers[0].ports[0].containerPort", "expected integer, found string"))
        {
            try codec.encode(bad)
        }
    }
}

extension JSONValue {
    fileprivate var nonEmpty: JSONValue? { object?.isEmpty == true ? nil : self }
}
