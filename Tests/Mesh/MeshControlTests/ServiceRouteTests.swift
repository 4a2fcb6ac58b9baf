import ClusterAPI
import JSON
import Testing

@testable import MeshControl
@testable import XDS

@Suite("Routes of Services that are not only HTTP's")
struct ServiceRouteTests {
    private static func to(_ backends: JSONValue...) -> JSONValue { ["backendRefs": .array(backends)] }

    private static func cluster(_ name: String) -> String { "outbound|80||\(name).shop.svc.cluster.local" }

    @Test("a TCPRoute leads a Service's connections, the oldest alone; one of another namespace those of its callers")
    func tcp() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("web")
        try world.publish()
        #expect(world.targets("10.96.0.9_80") == ["": Self.cluster("cart")])
        try world.route("split", kind: .tcp, Self.to(backend("cart", 9), backend("web", 1)))
        try world.route("late", kind: .tcp, created: "2026-01-02T00:00:00Z", Self.to(backend("web")))
        try world.publish()
        #expect(world.targets("10.96.0.9_80") == ["rest": "\(Self.cluster("cart"))=9 \(Self.cluster("web"))=1"])
        #expect(world.conditions(.tcp, "split") == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        #expect(world.conditions(.tcp, "late").last == "weft.dev/Shadowed=True:MatchTaken")
        try world.route("theirs", kind: .tcp, in: "other", of: "shop", Self.to(backend("cart", in: "shop")))
        try world.publish()
        #expect(world.apart["10.96.0.9_80"] != nil)
        #expect(world.targets("10.96.0.9_80").keys.map { $0 } == ["rest"], "others' routes are for themselves")
        // A backend that does not exist takes its share.
        try world.route("split", kind: .tcp, Self.to(backend("gone")))
        try world.publish()
        #expect(world.targets("10.96.0.9_80") == ["rest": RouteTranslation.nowhere])
    }

    @Test("a TLSRoute leads them by the name that the client says; the rest follows a TCPRoute, or is refused")
    func tls() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("web")
        try world.route("named", kind: .tls, hostnames: ["a.test", "*.b.test"], Self.to(backend("web")))
        try world.publish()
        let listener = try #require(world.said[.listener]?["10.96.0.9_80"])
        #expect(world.targets("10.96.0.9_80") == ["a.test": Self.cluster("web"), "*.b.test": Self.cluster("web")])
        #expect(listener.list("listener_filters").map { $0.text("name") } == ["envoy.filters.listener.tls_inspector"])
        try world.route(
            "other", kind: .tls, created: "2026-01-02T00:00:00Z", hostnames: ["a.test"], Self.to(backend("cart")))
        try world.route("rest", kind: .tcp, Self.to(backend("cart")))
        try world.publish()
        #expect(world.targets("10.96.0.9_80")["a.test"] == Self.cluster("web"))
        #expect(world.targets("10.96.0.9_80")["rest"] == Self.cluster("cart"))
        #expect(world.conditions(.tls, "other").last == "weft.dev/Shadowed=True:MatchTaken")
    }

    @Test("a TCPRoute on a port of HTTP, or on a Service without an address, is told so")
    func notStreams() throws {
        var world = MeshServices()
        world.service("cart")
        world.service("web", isHeadless: true)
        try world.route("http", toCart())
        try world.route("tcp", kind: .tcp, Self.to(backend("cart")))
        try world.route("pods", kind: .tcp, to: "web", Self.to(backend("cart")))
        try world.publish()
        #expect(world.conditions(.tcp, "tcp").first == "Accepted=False:UnsupportedProtocol")
        #expect(world.conditions(.tcp, "pods").first == "Accepted=False:UnsupportedValue")
    }

    @Test(
        "an HTTPRoute on a port that says that it speaks something else is told so, and leaves it alone",
        arguments: [("tcp-", false), ("mysql-", false), ("https-", false), ("http-", true), ("p", true)])
    func notRequests(prefix: String, isTaken: Bool) throws {
        var world = MeshServices()
        world.service("cart", prefix: prefix)
        try world.route("r", toCart())
        try world.publish()
        #expect(
            world.conditions(.http, "r").first
                == (isTaken ? "Accepted=True:Accepted" : "Accepted=False:UnsupportedProtocol"))
    }

    @Test("an expression that proxies would refuse never reaches them, and its route is told")
    func expressions() throws {
        var world = MeshServices()
        world.service("cart")
        let bad: JSONValue = [
            "matches": [["path": ["type": "RegularExpression", "value": "/(?=x)"]]], "backendRefs": [backend("cart")],
        ]
        try world.route("bad", bad)
        try world.publish()
        #expect(world.conditions(.http, "bad").first == "Accepted=False:UnsupportedValue")
        #expect(world.routes().isEmpty, "what no rule matches is not found")
    }

    @Test("HTTPRoutes hold for a Service without an address, at each of its pods' own")
    func headless() throws {
        var world = MeshServices()
        world.service("cart", isHeadless: true)
        _ = world.slice("cart-1", "cart", [["addresses": ["10.244.1.2"]], ["addresses": ["10.244.1.3"]]])
        try world.publish()
        #expect(world.said[.listener]?["10.244.1.2_8080"] == nil, "without a sidecar or a route nothing is done to it")
        try world.route("web", toCart())
        try world.publish()
        for name in ["10.244.1.2_8080", "10.244.1.3_8080"] {
            let chain = try #require(world.said[.listener]?[name]).list("filter_chains").first
            let manager = chain?.list("filters").first?["typed_config"]
            #expect(manager?.text("rds", "route_config_name") == "cart.shop.svc.cluster.local:80")
        }
        #expect(world.routes().count == 1)
    }

    /// What a rule wants, and what the filter is told; nil: it is refused.
    private struct Session: Sendable, CustomTestStringConvertible {
        var wish: JSONValue
        var state: JSONValue?
        var testDescription: String { wish.encodedString() }
    }

    private static let sessions = [
        Session(wish: ["cookie": ["name": "s"]], state: ["cookie": ["name": "s", "path": "/"]]),
        Session(
            wish: ["cookie": ["name": "s", "lifetimeType": "Permanent", "path": "/a"], "absoluteTimeout": "1h"],
            state: ["cookie": ["name": "s", "path": "/a", "ttl": "3600s"]]),
        Session(wish: ["type": "Header", "header": ["name": "x-s"]], state: ["name": "x-s"]),
        Session(wish: ["cookie": ["name": "s", "lifetimeType": "Permanent"]]),
        Session(wish: ["cookie": ["name": "s"], "absoluteTimeout": "1h"]),
        Session(wish: ["type": "Header", "header": ["name": "x-s"], "absoluteTimeout": "1h"]),
    ]

    @Test("a session goes back to the pod where it began, as far as a client can carry it", arguments: sessions)
    private func session(_ one: Session) throws {
        var world = MeshServices()
        world.service("cart")
        var rule = toCart()
        rule["sessionPersistence"] = one.wish
        try world.route("web", rule)
        try world.publish()
        let route = world.routes().first
        let config = route?[path: "typed_per_filter_config", SessionPersistence.filter]
        var state = config?[path: "config", "stateful_session", "session_state", "typed_config"]
        state?["@type"] = nil
        #expect(state == one.state)
        let accepted = world.conditions(.http, "web").first
        #expect(accepted == (one.state == nil ? "Accepted=False:UnsupportedValue" : "Accepted=True:Accepted"))
        #expect(config == nil || config?["is_optional"] == true)
    }
}
