import Glibc
import Testing
import XDS

@Suite("ProtoSchema") struct SchemaTests {
    @Test("every message of the table can be read, and is found by its name") func all() throws {
        let names = ProtoSchema.envoy.messageNames
        #expect(names.count > 800)
        #expect(names == names.sorted())
        for name in names {
            let type = try #require(ProtoSchema.envoy.message(name))
            #expect(type.name == name)
            #expect(Set(type.fieldNames).count == type.fieldNames.count)
        }
    }

    @Test(
        "a name that is nobody's is found nowhere",
        arguments: [
            "", "envoy", "envoy.config.cluster.v3.Cluste", "envoy.config.cluster.v3.Cluster2", "zzz", "a",
        ])
    func none(name: String) {
        #expect(ProtoSchema.envoy.message(name) == nil)
    }

    @Test(
        "the table is what the .proto files say, and protoc takes all of them",
        .enabled(if: access("/usr/bin/protoc", X_OK) == 0, "protoc is not there"))
    func generated() {
        let root = #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" }
        #expect(system("python3 '\(root)/Tools/envoy-schema/generate.py' --check") == 0)
    }

    @Test(
        "what is asked for is there: resources, filters, policies, sockets, formatters",
        arguments: [
            "envoy.extensions.filters.http.decompressor.v3.Decompressor",
            "envoy.extensions.load_balancing_policies.maglev.v3.Maglev", "envoy.extensions.clusters.dns.v3.DnsCluster",
            "envoy.extensions.transport_sockets.tls.v3.Secret", "envoy.extensions.formatter.metadata.v3.Metadata",
            "envoy.config.trace.v3.OpenTelemetryConfig", "envoy.service.auth.v3.CheckRequest",
            "envoy.service.ratelimit.v3.RateLimitRequest", "grpc.health.v1.HealthCheckRequest", "google.rpc.Status",
            "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", "udpa.type.v1.TypedStruct",
            "xds.type.v3.TypedStruct",
        ])
    func present(name: String) {
        #expect(ProtoSchema.envoy.message(name) != nil)
    }
}
