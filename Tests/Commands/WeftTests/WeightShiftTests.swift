import ClusterAPI
import JSON
import Testing

@testable import weft

@Suite("Weights that people wish for")
struct WeightShiftTests {
    private static func backends(_ weights: [(String, Int64?)]) -> [JSONValue] {
        weights.map { name, weight in
            var backend: JSONValue = ["name": .string(name), "port": 80]
            if let weight { backend["weight"] = .int(weight) }
            return backend
        }
    }

    private static let services = ["cart", "cart-v2", "cart-v3", "other"].map { name in
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: name)
        service.json["spec"] = ["ports": [["port": 80]]]
        return service
    }

    private static func shifted(_ words: [String], _ before: [(String, Int64?)]) throws -> [String] {
        try WeightShift(words).applied(to: backends(before), base: "cart", services: services).map {
            "\($0["name"]?.string ?? "")=\($0["weight"]?.int ?? -1)"
        }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var wish: [String]
        var before: [(String, Int64?)]
        var after: [String]
        var testDescription: String { "\(wish) of \(before)" }
    }

    @Test(
        "a share goes to those that are named, the rest to the others as they had it",
        arguments: [
            Row(wish: ["v2=50%"], before: [("cart", nil), ("cart-v2", nil)], after: ["cart=50", "cart-v2=50"]),
            Row(wish: ["v2=0%"], before: [("cart", 1), ("cart-v2", 1)], after: ["cart=100", "cart-v2=0"]),
            Row(wish: ["v2=100%"], before: [("cart", 1), ("cart-v2", 1)], after: ["cart=0", "cart-v2=100"]),
            // A version that is not there yet comes in.
            Row(wish: ["v2=10%"], before: [("cart", nil)], after: ["cart=90", "cart-v2=10"]),
            // Others keep their proportions, and all is 100.
            Row(
                wish: ["v3=10%"], before: [("cart", 2), ("cart-v2", 1), ("cart-v3", 0)],
                after: ["cart=60", "cart-v2=30", "cart-v3=10"]),
            Row(
                wish: ["v3=0%"], before: [("cart", 1), ("cart-v2", 1), ("cart-v3", 1), ("other", 1)],
                after: ["cart=34", "cart-v2=33", "cart-v3=0", "other=33"]),
            // Where all the others had nothing the first takes the rest.
            Row(wish: ["v2=20%"], before: [("cart", 0), ("cart-v2", 1)], after: ["cart=80", "cart-v2=20"]),
            // Weights are taken as they are.
            Row(
                wish: ["cart=9", "cart-v2=1"], before: [("cart", nil), ("cart-v2", nil), ("other", 5)],
                after: ["cart=9", "cart-v2=1", "other=5"]),
            // The Service's own name is not the end of another's.
            Row(wish: ["cart=30%"], before: [("cart", 1), ("big-cart", 1)], after: ["cart=30", "big-cart=70"]),
        ])
    func shares(row: Row) throws {
        let after = try Self.shifted(row.wish, row.before)
        #expect(after == row.after)
    }

    @Test(
        "what cannot be is refused",
        arguments: [
            ["v2"], ["=1"], ["v2=x"], ["v2=101%"], ["v2=-1"], ["v2=60%", "cart=60%"], ["v2=50%", "cart=1"],
            ["v2=1%", "v2=2%"], ["v2=1000001"],
        ])
    func refused(words: [String]) {
        #expect(throws: Refusal.self) { try WeightShift(words) }
    }

    @Test("a share of nobody's, two names of one backend, and nothing at all are refused")
    func impossible() {
        #expect(throws: Refusal.self) { try Self.shifted(["v9=10%"], [("cart", nil)]) }
        #expect(throws: Refusal.self) { try Self.shifted(["v2=1", "cart-v2=2"], [("cart", nil), ("cart-v2", nil)]) }
        #expect(throws: Refusal.self) { try Self.shifted(["cart=50%"], [("cart", nil)]) }
        #expect(throws: Refusal.self) { try Self.shifted(["cart=0"], [("cart", nil)]) }
        #expect(throws: Refusal.self) { try Self.shifted(["x=1"], [("a-x", nil), ("b-x", nil)]) }
    }

    @Test("mirrors and faults are read as they are written")
    func wishes() throws {
        #expect(try MirrorRoute.wish("v2") == MirrorRoute.Wish(name: "v2", percent: 100))
        #expect(try MirrorRoute.wish("v2=7%") == MirrorRoute.Wish(name: "v2", percent: 7))
        for text in ["", "v2=", "v2=7", "v2=0%", "v2=101%", "v2=1%=2%"] {
            #expect(throws: Refusal.self, "\(text)") { try MirrorRoute.wish(text) }
        }
        #expect(try FaultRule(abort: "503=10%", delay: "300ms=5%").text == "abort=503:10%,delay=300ms:5%")
        #expect(try FaultRule(abort: "503", delay: nil).text == "abort=503:100%")
        for (abort, delay) in [("99=1%", nil), ("503=0%", nil), ("x=1%", nil), (nil, "2=1%"), (nil, "s=1%")] {
            #expect(throws: Refusal.self) { try FaultRule(abort: abort, delay: delay) }
        }
    }

    @Test("a mirror takes the place of another, and leaves other filters alone")
    func mirror() throws {
        let rule: JSONValue = [
            "backendRefs": [["name": "cart", "port": 80]],
            "filters": [
                ["type": "RequestMirror", "requestMirror": ["backendRef": ["name": "old", "port": 80]]],
                ["type": "URLRewrite"],
            ],
        ]
        let filters = try MirrorRoute.filters(
            rule, MirrorRoute.Wish(name: "v2", percent: 7), base: "cart", services: Self.services)
        let expected: [JSONValue] = [
            ["type": "URLRewrite"],
            [
                "type": "RequestMirror",
                "requestMirror": ["backendRef": ["name": "cart-v2", "port": 80], "percent": 7],
            ],
        ]
        #expect(filters == expected)
        #expect(try MirrorRoute.filters(rule, nil, base: "cart", services: []) == [["type": "URLRewrite"]])
    }

    @Test("a port of packets has no route")
    func packets() throws {
        var service = KubeObject(apiVersion: "v1", kind: "Service", namespace: "shop", name: "dns")
        service.json["spec"] = [
            "ports": [
                ["port": 53, "protocol": "UDP"], ["port": 53, "protocol": "TCP"], ["port": 54, "protocol": "UDP"],
            ]
        ]
        try ChosenRoute.mustBeRoutable(service, 53)
        let refusal = #expect(throws: Refusal.self) { try ChosenRoute.mustBeRoutable(service, 54) }
        #expect(refusal?.reason.contains("is UDP") == true)
    }
}
