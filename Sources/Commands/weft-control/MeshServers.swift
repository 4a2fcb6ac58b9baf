import APIServer
import Bytes
import ClusterClient
import Discovery
import HTTP
import MeshControl
import Reactor
import TLS
import Telemetry

/// What the mesh is served: certificates and configuration on its port, and configuration in plain text where somebody wants that. All
/// of it is on one loop, which shares what is encoded.
struct MeshServers: Sendable {
    private let group: EventLoopGroup
    private let servers: [HTTPServer]
    private let work: Task<Void, Never>

    /// Nil where nothing of it is wanted.
    static func start(
        _ settings: ControlSettings, _ api: APIServer, _ credentials: ClusterCredentials, serving identity: TLSIdentity,
        pages: MeshPages, metrics: MetricsRegistry, log: Log
    ) async throws -> MeshServers? {
        guard settings.xdsAddress != nil || settings.meshAddress != nil else { return nil }
        let group = try EventLoopGroup(count: 1, name: "mesh")
        let loop = group.all[0]
        let plane = try await loop.perform {
            MeshControlPlane(
                KubeClient(api.transport(as: .controllerManager)), domain: settings.clusterDomain, loop: loop, log: log,
                sidecar: settings.sidecar)
        }
        pages.attach(plane)
        var servers: [HTTPServer] = []
        if let address = settings.xdsAddress {
            let server = HTTPServer(group: group, address: address, limits: DiscoveryServer.limits) { _ in plane.server
            }
            let bound = try await server.start()
            log.info("serving proxies in plain text", ["address": "\(bound)"])
            servers.append(server)
        }
        if let address = settings.meshAddress {
            if let server = try await serveMesh(
                settings, address, on: group, plane, credentials, identity, metrics: metrics, log: log)
            {
                servers.append(server)
            }
        }
        return MeshServers(
            group: group, servers: servers, work: Task(executorPreference: loop) { await plane.run() })
    }

    private static func serveMesh(
        _ settings: ControlSettings, _ address: SocketAddress, on group: EventLoopGroup, _ plane: MeshControlPlane,
        _ credentials: ClusterCredentials, _ identity: TLSIdentity, metrics: MetricsRegistry, log: Log
    ) async throws -> HTTPServer? {
        let loop = group.all[0]
        let authority = try await loop.perform {
            try LiveMeshAuthority(
                settings.meshAuthority, trustDomain: settings.clusterDomain, passphrase: settings.meshPassphrase,
                loop: loop, log: log)
        }
        let cluster = credentials.authority.certificate
        let service = try await loop.perform {
            MeshPortService(
                plane, authority, cluster: [cluster], lifetime: settings.meshCertificateLifetime, metrics: metrics,
                log: log)
        }
        @Sendable func context(_ authority: MeshAuthority) throws(TLSError) -> TLSContext {
            try TLSContext(
                serving: [identity], clientCertificates: .requested, trust: TrustPool([cluster] + authority.roots),
                protocols: ["h2"])
        }
        let server = HTTPServer(
            group: group, address: address, tls: try await loop.perform { try context(authority.current) },
            limits: DiscoveryServer.limits
        ) { _ in service }
        do {
            let bound = try await server.start()
            log.info("serving the mesh", ["address": "\(bound)"])
        } catch let error as SystemError where !settings.namesMeshAddress {
            // Who never asked for a mesh must not be kept from a cluster by another that has the port.
            log.error("the mesh is not served; --mesh-address names another address", ["error": "\(error)"])
            return nil
        }
        try await loop.perform {
            authority.onChange { new in
                do { server.replaceTLS(try context(new)) } catch {
                    log.error("callers are checked by the mesh's former roots", ["error": "\(error)"])
                }
            }
        }
        return server
    }

    func stop() async {
        work.cancel()
        for server in servers { await server.drain(deadline: .zero) }
        await group.shutdown()
    }
}
