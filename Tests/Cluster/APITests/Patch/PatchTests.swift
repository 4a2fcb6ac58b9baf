import JSON
import Testing

@testable import ClusterAPI

@Suite struct PatchTests {
    @Test("a strategic patch does what kubectl does with it", arguments: StrategicCases.all.indices)
    func strategic(index: Int) throws {
        let row = StrategicCases.all[index]
        let target = try JSONValue.parse(row.target)
        let patch = try JSONValue.parse(row.patch)
        let kind = try #require(
            GroupVersionKind(apiVersion: target["apiVersion"]?.string ?? "", kind: target["kind"]?.string ?? ""))
        let result = Result { () throws(PatchError) in try StrategicMergePatch.apply(patch, to: target, of: kind) }
        switch (row.result, result) {
        case (let expected?, .success(let value)): #expect(try value == JSONValue.parse(expected), "\(row.patch)")
        case (nil, .failure): break
        case (nil, .success(let value)): Issue.record("\(row.patch) gave \(value)")
        case (_, .failure(let error)): Issue.record("\(row.patch): \(error)")
        }
    }

    @Test(
        "a merge patch sets, merges and removes",
        arguments: [
            (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
            (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
            (#"{"a":"b"}"#, #"{"a":null}"#, "{}"),
            (#"{"a":[1,2]}"#, #"{"a":[3]}"#, #"{"a":[3]}"#),
            (#"{"a":{"b":1,"c":2}}"#, #"{"a":{"b":null,"d":3}}"#, #"{"a":{"c":2,"d":3}}"#),
            (#"{"a":1}"#, #"{"a":{"b":{"c":null,"d":1}}}"#, #"{"a":{"b":{"d":1}}}"#),
            (#"{"a":1}"#, "[1]", "[1]"),
            (#"[1]"#, #"{"a":{"b":null}}"#, #"{"a":{}}"#),
            (#"{"a":1}"#, "{}", #"{"a":1}"#),
        ])
    func merge(target: String, patch: String, expected: String) throws {
        let result = try JSONMergePatch.apply(JSONValue.parse(patch), to: JSONValue.parse(target))
        #expect(try result == JSONValue.parse(expected))
    }

    @Test(
        "a JSON patch applies all operations or none",
        arguments: [
            (#"{"a":1}"#, #"[{"op":"add","path":"/b","value":2}]"#, #"{"a":1,"b":2}"#),
            (#"{"a":[1,3]}"#, #"[{"op":"add","path":"/a/1","value":2}]"#, #"{"a":[1,2,3]}"#),
            (#"{"a":[1]}"#, #"[{"op":"add","path":"/a/-","value":2}]"#, #"{"a":[1,2]}"#),
            (#"{"a":[1]}"#, #"[{"op":"add","path":"/a/2","value":2}]"#, nil),
            (#"{"a":[1]}"#, #"[{"op":"add","path":"/a/01","value":2}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"add","path":"/b/c","value":2}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"add","path":"/a","value":null}]"#, #"{"a":null}"#),
            (#"{"a":1}"#, #"[{"op":"add","path":"/a"}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"add","path":"","value":[1]}]"#, "[1]"),
            (#"{"a":1,"b":2}"#, #"[{"op":"remove","path":"/a"}]"#, #"{"b":2}"#),
            (#"{"a":[1,2]}"#, #"[{"op":"remove","path":"/a/0"}]"#, #"{"a":[2]}"#),
            (#"{"a":1}"#, #"[{"op":"remove","path":"/b"}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"replace","path":"/a","value":{"b":1}}]"#, #"{"a":{"b":1}}"#),
            (#"{"a":1}"#, #"[{"op":"replace","path":"/b","value":1}]"#, nil),
            (#"{"a":{"b":1},"c":{}}"#, #"[{"op":"move","from":"/a/b","path":"/c/d"}]"#, #"{"a":{},"c":{"d":1}}"#),
            (#"{"a":{"b":1}}"#, #"[{"op":"move","from":"/a","path":"/a/b/c"}]"#, nil),
            (#"{"a":{"b":1}}"#, #"[{"op":"copy","from":"/a","path":"/c"}]"#, #"{"a":{"b":1},"c":{"b":1}}"#),
            (#"{"a":1}"#, #"[{"op":"copy","from":"/b","path":"/c"}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"test","path":"/a","value":1},{"op":"remove","path":"/a"}]"#, "{}"),
            (#"{"a":1}"#, #"[{"op":"remove","path":"/a"},{"op":"test","path":"/a","value":1}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"test","path":"/b","value":null}]"#, #"{"a":1}"#),
            (#"{"a/b":1,"c~d":2}"#, #"[{"op":"remove","path":"/a~1b"},{"op":"remove","path":"/c~0d"}]"#, "{}"),
            (#"{"~1":1}"#, #"[{"op":"remove","path":"/~01"}]"#, "{}"),
            (#"{"a":1}"#, #"[{"op":"jump","path":"/a"}]"#, nil),
            (#"{"a":1}"#, #"[{"path":"/a"}]"#, nil),
            (#"{"a":1}"#, #"[{"op":"remove","path":"a"}]"#, nil),
            (#"{"a":1}"#, #"{"op":"remove","path":"/a"}"#, nil),
        ] as [(String, String, String?)])
    func jsonPatch(target: String, patch: String, expected: String?) throws {
        let target = try JSONValue.parse(target)
        let patch = try JSONValue.parse(patch)
        guard let expected else {
            #expect(throws: PatchError.self) { try JSONPatch.apply(patch, to: target) }
            return
        }
        #expect(try JSONPatch.apply(patch, to: target) == JSONValue.parse(expected))
    }

    @Test("a patch with too many operations, or one that copies too much, is refused") func limits() throws {
        let operation: JSONValue = ["op": "test", "path": "/a", "value": 1]
        let most = JSONValue.array(Array(repeating: operation, count: JSONPatch.operationLimit))
        #expect(try JSONPatch.apply(most, to: ["a": 1]) == ["a": 1])
        #expect(throws: PatchError.self) {
            try JSONPatch.apply(.array(Array(repeating: operation, count: JSONPatch.operationLimit + 1)), to: ["a": 1])
        }
        // Doubling a value thirty times would make a gigabyte of it.
        let doubling: JSONValue = .array(
            (0..<30).map { ["op": "copy", "from": "/a", "path": .string("/a/x\($0)")] })
        let seed: JSONValue = ["a": ["text": .string(String(repeating: "x", count: 100))]]
        #expect(throws: PatchError.self) { try JSONPatch.apply(doubling, to: seed) }
    }

    @Test("a failed test says which path") func failedTest() {
        #expect(throws: PatchError.inapplicable("testing value /a failed")) {
            try JSONPatch.apply([["op": "test", "path": "/a", "value": 2]], to: ["a": 1])
        }
    }
}
