import Bytes
import Glibc
import JSON
import Reactor
import Synchronization
import TestSupport

/// A control plane that is none of ours: grpcio's server with PyPI's xDS messages, which says what a test tells it to, well or
/// badly, and tells what its clients say.
final class ControlPlane: Sendable {
    /// nil where the packages cannot be installed.
    static let library = PythonPackage.folder(
        "grpcio", "1.85.0", named: "xds-server", probe: "grpc/__init__.py",
        with: ["xds-protos==1.85.0", "protobuf==7.36.2", "typing_extensions==4.16.0"])

    static let cluster = "envoy.config.cluster.v3.Cluster"
    static let listener = "envoy.config.listener.v3.Listener"
    static let endpoints = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    static let routes = "envoy.config.route.v3.RouteConfiguration"
    static let secret = "envoy.extensions.transport_sockets.tls.v3.Secret"
    static let filter = "envoy.config.core.v3.TypedExtensionConfig"

    /// Of the server, and of a relay before it that can be told to fail.
    let port: Int
    let relayPort: Int
    private let child: ChildProcess
    private let control: StreamConnection
    private let loop: EventLoop
    private let scratch: ScratchFolder
    private let events = Mutex<[JSONValue]>([])
    private let upstreams = Mutex<[ScriptedUpstream]>([])

    /// Runs `body` beside a control plane and takes that down, whatever happens.
    static func run(_ body: (ControlPlane) async throws -> Void) async throws {
        let group = try EventLoopGroup(count: 1, name: "plane")
        let plane = try await ControlPlane(on: group.all[0])
        let reading = group.all[0].task { try? await plane.read() }
        do {
            _ = try await plane.next { $0["event"] == "ready" }
            try await body(plane)
        } catch {
            await plane.close()
            reading.cancel()
            await group.shutdown()
            throw error
        }
        await plane.close()
        reading.cancel()
        await group.shutdown()
    }

    private init(on loop: EventLoop) async throws {
        guard let library = Self.library else { throw Unexpected("grpcio is not there") }
        self.loop = loop
        scratch = try ScratchFolder()
        let script = #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" }
        let file = "\(scratch.path)/ports"
        var command = ChildProcess.Configuration(
            ["/usr/bin/env", "python3", "\(script)/ControlPlane/control_plane.py", file])
        command.environment = [
            "PYTHONPATH=\(library)", "PYTHONDONTWRITEBYTECODE=1", "PATH=\(Environment["PATH"] ?? "/usr/bin")",
            "HOME=\(Environment["HOME"] ?? "/tmp")",
        ]
        command.deathSignal = SIGKILL
        child = try await ChildProcess.start(command, on: loop)
        let deadline = ContinuousClock.now + .seconds(60)
        while access(file, R_OK) != 0 {
            guard ContinuousClock.now < deadline, child.finishedStatus == nil else {
                throw Unexpected("the control plane does not start")
            }
            try await loop.sleep(for: .milliseconds(10))
        }
        let ports = try Files.readText(file).split(separator: " ").compactMap { Int($0) }
        (port, relayPort) = (ports[0], ports[1])
        control = try await StreamConnection.connect(
            to: .ip(IPAddress("127.0.0.1")!, Port(UInt16(ports[2]))), on: loop)
    }

    /// An upstream for what it hands out, for as long as it runs.
    func upstream(_ script: @escaping ScriptedUpstream.Script) async throws -> String {
        let upstream = try await ScriptedUpstream(on: loop, script)
        upstreams.withLock { $0.append(upstream) }
        return "\(upstream.port)"
    }

    private func close() async {
        for upstream in upstreams.withLock({ $0 }) { upstream.close() }
        control.close()
        _ = child.kill(SIGKILL)
        _ = try? await child.exitStatus
    }

    private func read() async throws {
        var rest: [UInt8] = []
        while true {
            let more = try await control.read()
            if more.isEmpty { return }
            rest += more
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let event = try JSONValue.parse(Array(rest[..<end]))
                events.withLock { $0.append(event) }
                rest.removeFirst(end + 1)
            }
        }
    }

    // MARK: What clients say

    /// The first event that fits and was not taken before; waits for it.
    func next(_ fits: @escaping (JSONValue) -> Bool) async throws -> JSONValue {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let found = events.withLock { events -> JSONValue? in
                guard let index = events.firstIndex(where: fits) else { return nil }
                return events.remove(at: index)
            }
            if let found { return found }
            guard ContinuousClock.now < deadline else {
                let seen = events.withLock { $0.map { $0.encodedString() } }
                throw Unexpected("it did not come; what came: \(seen.joined(separator: "\n"))")
            }
            try await loop.sleep(for: .milliseconds(5))
        }
    }

    /// The next request for a kind.
    func request(_ kind: String) async throws -> JSONValue {
        try await next { $0["event"] == "request" && $0["kind"]?.string == kind }
    }

    /// The next answer to a response: accepts it, or says why not.
    func answer(_ kind: String, to nonce: String) async throws -> JSONValue {
        try await next {
            $0["event"] == "request" && $0["kind"]?.string == kind && $0["nonce"]?.string == nonce
        }
    }

    /// Requests that came and were not asked about yet.
    var untaken: [JSONValue] { events.withLock { $0.filter { $0["event"] == "request" } } }

    // MARK: What it says

    /// Returns when it is done.
    func tell(_ op: String, _ fields: JSONObject = [:]) async throws {
        var command = fields
        command["op"] = .string(op)
        try await control.write(Array(JSONValue.object(command).encodedString().utf8) + [10])
        _ = try await next { $0["event"] == "done" && $0["op"]?.string == op }
    }

    /// All that there is of a kind. Streams that want it hear of it.
    ///
    /// - Parameter named: those that are told to who asks for them by name only.
    func set(_ kind: String, _ version: String, _ resources: [JSONValue], named: [String] = []) async throws {
        try await tell(
            "set",
            [
                "type": .string(kind), "version": .string(version), "resources": .array(resources),
                "named": .array(named.map { .string($0) }),
            ])
    }

    /// One response, as it is.
    func send(_ response: JSONObject, to stream: Int? = nil) async throws {
        var fields: JSONObject = ["response": .object(response)]
        if let stream { fields["stream"] = .int(Int64(stream)) }
        try await tell("send", fields)
    }

    static func url(_ kind: String) -> JSONValue { .string("type.googleapis.com/\(kind)") }

    // MARK: Resources

    /// A bootstrap whose clusters and listeners come by one stream.
    static func bootstrap(_ api: String = "GRPC", port: Int, fetchTimeout: String = "15s", more: String = "") -> String
    {
        """
        node: { id: test-proxy, cluster: test }
        dynamic_resources:
          ads_config:
            api_type: \(api)
            set_node_on_first_message_only: true
            grpc_services: [{ envoy_grpc: { cluster_name: xds } }]
          cds_config: { ads: {}, resource_api_version: V3, initial_fetch_timeout: \(fetchTimeout) }
          lds_config: { ads: {}, resource_api_version: V3, initial_fetch_timeout: \(fetchTimeout) }
        static_resources:
          clusters:
          - name: xds
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: { http2_protocol_options: {} }
            load_assignment:
              cluster_name: xds
              endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) }}}}]}]
        \(more)
        """
    }

    static func assignment(_ name: String, _ port: String, isResource: Bool = true) -> JSONValue {
        var object: JSONObject = [
            "cluster_name": .string(name),
            "endpoints": [
                [
                    "lb_endpoints": [
                        [
                            "endpoint": [
                                "address": [
                                    "socket_address": [
                                        "address": "127.0.0.1", "port_value": .int(Int64(port) ?? 0),
                                    ]
                                ]
                            ]
                        ]
                    ]
                ]
            ],
        ]
        if isResource { object["@type"] = url(endpoints) }
        return .object(object)
    }

    static func fixed(_ name: String, _ port: String, timeout: String = "5s") -> JSONValue {
        [
            "@type": url(cluster), "name": .string(name), "type": "STATIC", "connect_timeout": .string(timeout),
            "load_assignment": assignment(name, port, isResource: false),
        ]
    }

    /// A cluster whose endpoints come by the same stream.
    static func discovered(_ name: String, timeout: String = "5s", fetchTimeout: String = "15s") -> JSONValue {
        [
            "@type": url(cluster), "name": .string(name), "type": "EDS", "connect_timeout": .string(timeout),
            "eds_cluster_config": [
                "eds_config": [
                    "ads": [:], "resource_api_version": "V3", "initial_fetch_timeout": .string(fetchTimeout),
                ]
            ],
        ]
    }

    /// A listener that sends all to a cluster.
    static func web(_ name: String, to cluster: String, status: Int? = nil) -> JSONValue {
        let action: (String, JSONValue) =
            status.map { ("direct_response", ["status": .int(Int64($0))]) }
            ?? ("route", ["cluster": .string(cluster)])
        var route: JSONObject = ["match": ["prefix": "/"]]
        route[action.0] = action.1
        return listener(
            name,
            routes: [
                "route_config": [
                    "name": "local",
                    "virtual_hosts": [["name": "all", "domains": ["*"], "routes": [.object(route)]]],
                ]
            ])
    }

    /// - Parameter routes: what its connection manager says of routes.
    static func listener(_ name: String, routes: JSONObject) -> JSONValue {
        let package = "type.googleapis.com/envoy.extensions.filters"
        var manager: JSONObject = [
            "@type": .string("\(package).network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": .string(name),
            "http_filters": [
                [
                    "name": "envoy.filters.http.router",
                    "typed_config": ["@type": .string("\(package).http.router.v3.Router")],
                ]
            ],
        ]
        for member in routes { manager[member.key] = member.value }
        return [
            "@type": url(listener), "name": .string(name),
            "address": ["socket_address": ["address": "127.0.0.1", "port_value": 0]],
            "filter_chains": [["filters": [["name": "hcm", "typed_config": .object(manager)]]]],
        ]
    }
}
