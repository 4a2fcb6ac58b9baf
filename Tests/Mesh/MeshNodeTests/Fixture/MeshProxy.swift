import Bytes
import ClusterFixture
import Glibc
import HTTP
import JSON
import Reactor
import TestSupport
import Testing

@testable import MeshNode

/// A proxy as it stands in a pod: all it knows of the mesh are two sockets. It takes requests on `outbound`, sends them over mutual TLS to
/// itself at `inbound`, and answers with what it was told there of the client.
final class MeshProxy: Sendable {
    enum Maker: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case envoy
        case weft = "weft-proxy"

        var testDescription: String { rawValue }

        /// nil when it is not there.
        var program: String? {
            switch self {
            case .envoy: EnvoyBinary.path
            case .weft: BuiltPrograms.path(rawValue)
            }
        }

        static var there: [Maker] { allCases.filter { $0.program != nil } }
    }

    /// Of the protocol by which it asks, as a config source calls it.
    enum Form: String, CaseIterable, Sendable {
        case stateOfTheWorld = "GRPC"
        case delta = "DELTA_GRPC"
    }

    let inbound: UInt16
    let outbound: UInt16
    private let folder: String
    private let loop: EventLoop
    private let process: ChildProcess
    private let client: HTTPClient

    /// - Parameter peer: The account that `outbound` wants at the other end.
    init(
        _ maker: Maker, _ pod: MeshNode.MeshPod, volume: String, in folder: String, on loop: EventLoop,
        peer: String = "spiffe://cluster.local/ns/shop/sa/cart", form: Form = .stateOfTheWorld
    ) async throws {
        self.folder = "\(folder)/\(maker.rawValue)-\(pod.name)"
        self.loop = loop
        inbound = try OwnAddress.freePort()
        outbound = try OwnAddress.freePort()
        try Files.makeDirectories(self.folder)
        try Files.writeAtomically(
            self.folder + "/bootstrap.yaml",
            Self.bootstrap(pod, volume, inbound: inbound, outbound: outbound, peer: peer, form))
        process = try await ChildProcess.start(
            .init([
                try #require(maker.program), "-c", self.folder + "/bootstrap.yaml", "--concurrency", "1", "--log-level",
                "warning", "--log-path", self.folder + "/log", "--admin-address-path", self.folder + "/admin",
                "--use-dynamic-base-id",
            ]), on: loop)
        client = HTTPClient(on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: outbound))
    }

    func kill() { process.kill(9) }

    /// What it answers to a request: the name of the client, as its own inbound side knows it; or the status that it failed with.
    func call() async throws -> String {
        do {
            let answer = try await client.request("GET", "/", timeout: .seconds(20))
            return answer.status == 200 ? answer.headers["x-client"] ?? "" : "\(answer.status) \(answer.text)"
        } catch let error as HTTPError { return "no answer: \(error)" }
    }

    /// A page of its admin server; empty while there is none.
    func admin(_ path: String) async throws -> String {
        guard let address = try? Files.readText(folder + "/admin"), let endpoint = HTTPEndpoint("http://\(address)")
        else {
            return ""
        }
        let client = HTTPClient(on: loop, endpoint: endpoint)
        defer { client.close() }
        return (try? await client.request("GET", path).text) ?? ""
    }

    func stat(_ name: String) async throws -> Int {
        let text = try await admin("/stats?filter=^\(name)$")
        return text.split(separator: ":").last.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    var log: String { (try? Files.readText(folder + "/log")) ?? "" }

    private static func bootstrap(
        _ pod: MeshNode.MeshPod, _ volume: String, inbound: UInt16, outbound: UInt16, peer: String, _ form: Form
    ) -> String {
        let grpc = { (cluster: String) in
            "{envoy_grpc: {cluster_name: \(cluster)}}"
        }
        let sds = """
            {resource_api_version: V3, initial_fetch_timeout: 0s, api_config_source: {api_type: \(form.rawValue), \
            transport_api_version: V3, set_node_on_first_message_only: true, grpc_services: [\(grpc("sds-grpc"))]}}
            """
        let types = "type.googleapis.com/envoy.extensions"
        return """
            node: {id: "sidecar~\(pod.name).\(pod.namespace)", cluster: \(pod.serviceAccount).\(pod.namespace)}
            admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
            dynamic_resources:
              ads_config:
                api_type: \(form.rawValue)
                transport_api_version: V3
                set_node_on_first_message_only: true
                grpc_services: [\(grpc("xds-grpc"))]
              cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0.2s}
            static_resources:
              listeners:
              - name: inbound
                address: {socket_address: {address: 127.0.0.1, port_value: \(inbound)}}
                filter_chains:
                - transport_socket:
                    name: tls
                    typed_config:
                      "@type": \(types).transport_sockets.tls.v3.DownstreamTlsContext
                      require_client_certificate: true
                      common_tls_context:
                        tls_certificate_sds_secret_configs: [{name: default, sds_config: \(sds)}]
                        combined_validation_context:
                          default_validation_context: {}
                          validation_context_sds_secret_config: {name: ROOTCA, sds_config: \(sds)}
                  filters:
                  - name: hcm
                    typed_config:
                      "@type": \(types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: inbound
                      http_filters:
                      - name: router
                        typed_config: {"@type": \(types).filters.http.router.v3.Router}
                      route_config:
                        virtual_hosts:
                        - name: all
                          domains: ["*"]
                          routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: "-"}}}]
                          response_headers_to_add:
                          - {header: {key: x-client, value: "%DOWNSTREAM_PEER_URI_SAN%"}}
              - name: outbound
                address: {socket_address: {address: 127.0.0.1, port_value: \(outbound)}}
                filter_chains:
                - filters:
                  - name: hcm
                    typed_config:
                      "@type": \(types).filters.network.http_connection_manager.v3.HttpConnectionManager
                      stat_prefix: outbound
                      http_filters:
                      - name: router
                        typed_config: {"@type": \(types).filters.http.router.v3.Router}
                      route_config:
                        virtual_hosts:
                        - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: self}}]}
              clusters:
            \(ProxyBootstrap.pipe("sds-grpc", "\(volume)/\(MeshWorkloads.secretSocket)"))
            \(ProxyBootstrap.pipe("xds-grpc", "\(volume)/\(MeshWorkloads.configurationSocket)"))
              - name: self
                type: STATIC
                connect_timeout: 5s
                transport_socket:
                  name: tls
                  typed_config:
                    "@type": \(types).transport_sockets.tls.v3.UpstreamTlsContext
                    common_tls_context:
                      tls_certificate_sds_secret_configs: [{name: default, sds_config: \(sds)}]
                      combined_validation_context:
                        default_validation_context:
                          match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: "\(peer)"}}]
                        validation_context_sds_secret_config: {name: ROOTCA, sds_config: \(sds)}
                load_assignment:
                  cluster_name: self
                  endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, \
            port_value: \(inbound)}}}}]}]
            """
    }
}
