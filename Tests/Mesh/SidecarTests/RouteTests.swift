import JSON
import TestSupport
import Testing

@testable import MeshControl

@Suite(
    "Routes of Services, obeyed by sidecars",
    .enabled(if: MeshLab.isAvailable, "needs root, nft and the built weft-proxy"))
struct RouteTests {
    static let sidecars = [MeshLab.Sidecar.weft] + (EnvoyBinary.path == nil ? [] : [.envoy])

    @Test("connections follow a TCPRoute, and by the name that a client says a TLSRoute", arguments: sidecars)
    func streams(client: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web", sidecar: client)
            let address = try await lab.service("cart", app: "v1")
            for name in ["v1", "v2"] {
                let pod = try await lab.pod("\(name)-1", account: name)
                _ = try await lab.service(name, app: name)
                try await lab.endpoints(name, [pod])
                if name == "v1" { try await lab.endpoints("cart", [pod]) }
            }
            func greeting() async throws -> String {
                try await lab.run(["python3", MeshLab.script, "greet", address, "90"], in: web)
            }
            func hello(_ name: String) async throws -> String {
                try await lab.run(["python3", MeshLab.script, "hello", address, "90", name], in: web)
            }
            try await lab.eventually("web hears v1") { try await greeting() == "hello from v1-1" }
            func backend(_ name: String) -> JSONValue {
                ["rules": [["backendRefs": [["name": .string(name), "port": 90]]]]]
            }
            try await lab.route("TCPRoute", "all", on: "cart", 90, backend("v2"))
            try await lab.eventually("web hears v2") { try await greeting() == "hello from v2-1" }
            var named = backend("v1")
            named["hostnames"] = ["v1.test"]
            try await lab.route("TLSRoute", "named", on: "cart", 90, named)
            try await lab.eventually("who names v1 hears v1") { try await hello("v1.test") == "hello from v1-1" }
            #expect(try await hello("other.test") == "hello from v2-1", "the rest follows the TCPRoute")
            #expect(try await greeting() == "hello from v2-1", "who says nothing as well, once that is certain")
            try await lab.route("TCPRoute", "all", on: "cart", 90, backend("nobody"))
            try await lab.eventually("what leads nowhere is refused") { try await hello("other.test") == "refused" }
            #expect(try await hello("v1.test") == "hello from v1-1")
        }
    }

    @Test("a session stays with the pod where it began, by cookie or header", arguments: sidecars)
    func sessions(client: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web", sidecar: client)
            let pods = [
                try await lab.pod("cart-1", account: "cart"), try await lab.pod("cart-2", account: "cart"),
                try await lab.pod("cart-3", account: "cart"),
            ]
            let address = try await lab.service("cart", app: "cart")
            try await lab.endpoints("cart", pods)
            try await lab.eventually("web reaches cart") {
                try await lab.get("http://\(address)/", from: web).status == 200
            }
            func ask(_ more: String...) async throws -> String {
                let body = try await lab.get("http://\(address)/", from: web, more).body
                return try JSONValue.parse(Array((body.split(separator: "\n").last ?? "{}").utf8)).text("name")
            }
            func rule(_ session: JSONValue) -> JSONValue {
                ["rules": [["sessionPersistence": session, "backendRefs": [["name": "cart", "port": 80]]]]]
            }
            let jar = "\(web.folder)/jar"
            try await lab.route("HTTPRoute", "sticky", on: "cart", 80, rule(["cookie": ["name": "cart-session"]]))
            try await lab.eventually("a cookie is given") {
                try await lab.get("http://\(address)/", from: web, "-c", jar, "-i").body.contains("cart-session=")
            }
            let home = try await ask("-b", jar)
            for _ in 0..<20 { #expect(try await ask("-b", jar) == home) }
            try await lab.eventually("others go anywhere") { try await ask() != home }
            // Where the pod has gone, the session begins anew.
            try await lab.endpoints("cart", pods.filter { $0.key.name != home })
            try await lab.eventually("another pod answers") {
                let name = try await ask("-b", jar)
                return !name.isEmpty && name != home
            }
            try await lab.route(
                "HTTPRoute", "sticky", on: "cart", 80, rule(["type": "Header", "header": ["name": "x-session"]]))
            var mark = ""
            try await lab.eventually("a header is given") {
                let lines = try await lab.get("http://\(address)/", from: web, "-i").body.split(
                    whereSeparator: \.isNewline)
                mark = lines.first { $0.lowercased().hasPrefix("x-session:") }.map(String.init) ?? ""
                return !mark.isEmpty
            }
            let other = try await ask("-H", mark)
            for _ in 0..<20 { #expect(try await ask("-H", mark) == other) }
        }
    }

    @Test("HTTPRoutes hold for a Service without an address", arguments: sidecars)
    func headless(client: MeshLab.Sidecar) async throws {
        try await MeshLab.run { lab in
            let web = try await lab.pod("web-1", account: "web", sidecar: client)
            let first = try await lab.pod("db-1", account: "db")
            let bare = try await lab.pod("old-1", account: "old", sidecar: .none)
            let second = try await lab.pod("new-1", account: "new")
            _ = try await lab.service("db", app: "db", isHeadless: true)
            _ = try await lab.service("new", app: "new")
            try await lab.endpoints("db", [first, bare])
            try await lab.endpoints("new", [second])
            for (pod, name) in [(first, "db-1"), (bare, "old-1")] {
                try await lab.eventually("web reaches \(name) by its address") {
                    try await lab.get("http://\(pod.address):8080/", from: web).body.contains(name)
                }
            }
            try await lab.route(
                "HTTPRoute", "moved", on: "db", 80, ["rules": [["backendRefs": [["name": "new", "port": 80]]]]])
            for pod in [first, bare] {
                try await lab.eventually("what is asked of \(pod.key) is led elsewhere") {
                    let answer = try await lab.get("http://\(pod.address):8080/", from: web)
                    return answer.body.contains("new-1") && answer.body.contains("sa/web")
                }
            }
        }
    }
}
