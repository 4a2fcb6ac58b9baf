import Testing
import XDS

@Suite("BootstrapAtRest") struct BootstrapAtRestTests {
    private static func check(_ text: String) throws {
        let bootstrap = try Bootstrap.read([ConfigText(name: "b.yaml", text: text)])
        var resources = ResourceSet()
        for (kind, found) in try bootstrap.staticResources() { _ = resources.replace(kind, with: found) }
        #expect(try BootstrapAtRest(bootstrap.message).message(resources) == bootstrap.message)
    }

    @Test(
        "what is put at rest comes back as it was, clusters in their order",
        arguments: [
            "{}", "node: {id: a}", "static_resources: {}", "static_resources: {listeners: [{name: l}]}",
            """
            node: {id: a}
            static_resources:
              listeners: [{name: l}]
              clusters:
              - {name: z, connect_timeout: 2s}
              - {name: a-name-that-is-longer-than-fits-beside-a-length, alt_stat_name: x}
              - {name: b}
            admin: {}
            """,
        ])
    func comesBack(text: String) throws { try Self.check(text) }

    @Test("a static resource that is wrong is named by its place in its list") func place() throws {
        let text = "static_resources:\n  clusters:\n  - {name: a}\n  - {connect_timeout: 1s, name: ''}\n"
        let error = try #require(throws: ConfigError.self) {
            _ = try Bootstrap.read([ConfigText(name: "b.yaml", text: text)]).staticResources()
        }
        #expect("\(error)".contains("static_resources.clusters[1]"))
    }
}
