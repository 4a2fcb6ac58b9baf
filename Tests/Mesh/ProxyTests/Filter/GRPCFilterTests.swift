import Bytes
import JSON
import Testing
import XDS

@testable import Proxy

@Suite("Filters that speak gRPC")
struct GRPCFilterTests {
    @Test("an authorization service's answer is understood as its schema has it")
    func checkResponse() throws {
        let verdict = try Self.verdict([
            "status": ["code": 0],
            "ok_response": [
                "headers": [
                    ["header": ["key": "X-User", "value": "me"]],
                    ["header": ["key": "x-group", "value": "b"], "append": true],
                ],
                "headers_to_remove": ["x-secret"],
                "response_headers_to_add": [
                    ["header": ["key": "x-out", "value": "1"], "append_action": "ADD_IF_ABSENT"]
                ],
                "query_parameters_to_set": [["key": "a", "value": "2"]],
                "query_parameters_to_remove": ["b"],
            ],
            "dynamic_metadata": ["who": ["is": "me"]],
        ])
        #expect(verdict.kind == .ok)
        #expect(verdict.metadata?["who"]?["is"]?.string == "me")
        let request = HeaderBlock()
        Self.fill(request, "/p?b=1&a=1&c=3", ["x-user": "you", "x-group": "a", "x-secret": "s"])
        #expect(verdict.apply(to: request))
        #expect(String(decoding: request.path, as: UTF8.self) == "/p?a=2&c=3")
        #expect(Self.text(request, "x-user") == "me")
        #expect(Self.text(request, "x-group") == "a,b")
        #expect(Self.text(request, "x-secret") == nil)
        #expect(verdict.responseHeaders.map(\.action) == [.addIfAbsent])
    }

    @Test("a denial has the status and body that the service says, if it says some")
    func denial() throws {
        let said = try Self.verdict([
            "status": ["code": 7],
            "denied_response": ["status": ["code": "Unauthorized"], "body": "go away"],
        ])
        #expect(said.kind == .denied)
        #expect(said.status == 401)
        #expect(said.body == Array("go away".utf8))
        let plain = try Self.verdict(["status": ["code": 16]])
        #expect(plain.kind == .denied)
        #expect(plain.status == nil)
    }

    @Test("every prefix of an answer is read or refused, never more than that")
    func prefixes() throws {
        let type = try #require(ProtoSchema.envoy.message("envoy.service.auth.v3.CheckResponse"))
        let bytes = try Message(
            json: ["status": ["code": 7], "denied_response": ["body": "text", "headers": [["header": ["key": "a"]]]]],
            type: type
        ).binary()
        for count in 0..<bytes.count {
            bytes[..<count].withUnsafeBytes { bytes in _ = try? AuthzVerdict(checkResponse: bytes) }
        }
        let whole = try bytes.withUnsafeBytes { bytes in try AuthzVerdict(checkResponse: bytes) }
        #expect(whole.kind == .denied)
    }

    @Test("messages are counted however their bytes are cut", arguments: 1...12)
    func frames(step: Int) {
        let body: [UInt8] = [0, 0, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 7, 7, 7]
        var frames = GRPCFrames()
        for start in stride(from: 0, to: body.count, by: step) {
            body[start..<min(start + step, body.count)].withUnsafeBytes { _ = frames.take($0) }
        }
        #expect(frames.count == 3)
    }

    private static func verdict(_ json: JSONValue) throws -> AuthzVerdict {
        let type = try #require(ProtoSchema.envoy.message("envoy.service.auth.v3.CheckResponse"))
        let bytes = try Message(json: json, type: type).binary()
        return try bytes.withUnsafeBytes { bytes in try AuthzVerdict(checkResponse: bytes) }
    }

    private static func fill(_ block: HeaderBlock, _ path: String, _ fields: [String: String]) {
        Array(path.utf8).withUnsafeBytes { block.setPath($0) }
        for (name, value) in fields { Array(value.utf8).withUnsafeBytes { block.add(HeaderKey(name), $0) } }
    }

    private static func text(_ block: HeaderBlock, _ name: String) -> String? {
        block.value(HeaderKey(name)).map { String(decoding: $0, as: UTF8.self) }
    }
}
