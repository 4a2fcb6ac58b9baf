import Bytes
import Testing
import XDS

@testable import Proxy

@Suite("Many routes, found by hash")
struct RouteIndexTests {
    /// Routes of a few letters, so that many match.
    private static func table(_ random: inout SplitMix64) throws -> [RouteEntry] {
        let routes = (0..<(1 + random.below(80))).map { _ -> String in
            let path = Self.path(&random)
            let sensitivity = random.below(5) == 0 ? ", case_sensitive: false" : ""
            let match =
                switch random.below(7) {
                case 0, 1: "prefix: \"\(path)\"\(sensitivity)"
                case 2, 3: "path: \"\(path)\"\(sensitivity)"
                case 4: "path_separated_prefix: \"\(path)x\"\(sensitivity)"
                case 5: "safe_regex: { regex: \"\(path)[ab]*\" }"
                default: "connect_matcher: {}"
                }
            return "{ match: { \(match) }, direct_response: { status: 200 } }"
        }
        let text = """
            { resources: [ { "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: r, virtual_hosts: [ {
              name: h, domains: ["*"], routes: [ \(routes.joined(separator: ",\n")) ] } ] } ] }
            """
        let response = try ResourceResponse(.routeConfiguration, file: ConfigText(name: "r", text: text))
        let node = try #require(response.resources.first).node()
        return try RouteTable(node, BuildContext(logs: LogFiles()), isStatic: false).hosts[0].routes
    }

    private static func path(_ random: inout SplitMix64) -> String {
        "/" + (0..<random.below(5)).map { _ in ["a", "b", "A", "/", "x"][random.below(5)] }.joined()
    }

    @Test("the one that is found is the first that matches, for any routes and any path", arguments: 0..<60)
    func firstMatch(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        let routes = try Self.table(&random)
        let index = RouteIndex(routes)
        for _ in 0..<100 {
            let (path, isConnect) = (Self.path(&random), random.below(10) == 0)
            // What else a route may ask for.
            let held = routes.map { _ in random.below(3) > 0 }
            let places = Dictionary(
                uniqueKeysWithValues: routes.enumerated().map { (ObjectIdentifier($0.element), $0.offset) })
            let (found, wanted) = path.withBytes { path in
                func matches(_ place: Int) -> Bool {
                    held[place] && routes[place].match.matches(path, isConnect: isConnect)
                }
                let found = index.find(path, isConnect: isConnect) { matches(places[ObjectIdentifier($0)] ?? 0) }
                return (found.flatMap { places[ObjectIdentifier($0)] }, routes.indices.first(where: matches))
            }
            #expect(found == wanted, "seed \(seed), path \(path)")
        }
    }
}
