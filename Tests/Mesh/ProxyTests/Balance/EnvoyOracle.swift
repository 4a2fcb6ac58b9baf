import Foundation
import JSON

@testable import Proxy

/// A cluster of five hosts that is configured twice: for us and for Envoy.
struct OracleScenario: CustomStringConvertible, Sendable {
    struct Zone: Sendable {
        var name: String
        var weight: Int
        var hosts: [Int]
    }

    var name: String
    var config: BalanceConfig
    /// The rest of Envoy's cluster.
    var envoy: JSONValue
    var weights = [1, 1, 1, 1, 1]
    var hostnames = ["", "", "", "", ""]
    var zones = [Zone(name: "", weight: 1, hosts: [0, 1, 2, 3, 4])]

    var description: String { name }

    static let keyCount = 200

    static func key(_ number: Int) -> String { "key-\(number)" }

    func assignment(_ ports: [Int], host: String) -> EndpointAssignment {
        EndpointAssignment(
            zones.map { zone in
                LocalityEndpoints(
                    locality: Locality(zone: zone.name), weight: UInt32(zone.weight),
                    endpoints: zone.hosts.map {
                        Endpoint(
                            .init("\(host):\(ports[$0])")!, hostname: hostnames[$0], weight: UInt32(weights[$0]))
                    })
            })
    }

    var json: JSONValue {
        [
            "name": .string(name), "cluster": envoy,
            "zones": .array(
                zones.map { zone in
                    [
                        "name": .string(zone.name), "weight": .int(Int64(zone.weight)),
                        "hosts": .array(
                            zone.hosts.map { host in
                                [
                                    "number": .int(Int64(host)), "weight": .int(Int64(weights[host])),
                                    "hostname": .string(hostnames[host]),
                                ]
                            }),
                    ]
                }),
        ]
    }

    static let all: [OracleScenario] = [
        OracleScenario(
            name: "ring", config: BalanceConfig(.ringHash(RingHash())), envoy: ["lb_policy": "RING_HASH"]),
        OracleScenario(
            name: "ring-weighted", config: BalanceConfig(.ringHash(RingHash(minimumSize: 64))),
            envoy: ["lb_policy": "RING_HASH", "ring_hash_lb_config": ["minimum_ring_size": 64]],
            weights: [1, 2, 3, 5, 8]),
        OracleScenario(
            name: "ring-fractions", config: BalanceConfig(.ringHash(RingHash(minimumSize: 1, maximumSize: 7))),
            envoy: [
                "lb_policy": "RING_HASH", "ring_hash_lb_config": ["minimum_ring_size": 1, "maximum_ring_size": 7],
            ],
            weights: [1, 2, 3, 5, 8]),
        OracleScenario(
            name: "ring-murmur", config: BalanceConfig(.ringHash(RingHash(function: .murmurHash2))),
            envoy: ["lb_policy": "RING_HASH", "ring_hash_lb_config": ["hash_function": "MURMUR_HASH_2"]]),
        OracleScenario(
            name: "ring-hostnames", config: BalanceConfig(.ringHash(RingHash(usesHostname: true))),
            envoy: [
                "lb_policy": "RING_HASH",
                "common_lb_config": ["consistent_hashing_lb_config": ["use_hostname_for_hashing": true]],
            ],
            hostnames: ["a.example", "b.example", "c.example", "d.example", "e.example"]),
        OracleScenario(
            name: "ring-localities", config: weighted(.ringHash(RingHash())),
            envoy: ["lb_policy": "RING_HASH", "common_lb_config": ["locality_weighted_lb_config": [:]]],
            weights: [1, 2, 3, 4, 5], zones: twoZones),
        OracleScenario(name: "maglev", config: BalanceConfig(.maglev(Maglev())), envoy: ["lb_policy": "MAGLEV"]),
        OracleScenario(
            name: "maglev-weighted", config: BalanceConfig(.maglev(Maglev(tableSize: 251))),
            envoy: ["lb_policy": "MAGLEV", "maglev_lb_config": ["table_size": 251]], weights: [1, 2, 3, 5, 8]),
        OracleScenario(
            name: "maglev-hostnames", config: BalanceConfig(.maglev(Maglev(usesHostname: true))),
            envoy: [
                "lb_policy": "MAGLEV",
                "common_lb_config": ["consistent_hashing_lb_config": ["use_hostname_for_hashing": true]],
            ],
            hostnames: ["e.example", "d.example", "c.example", "b.example", "a.example"]),
        OracleScenario(
            name: "maglev-localities", config: weighted(.maglev(Maglev())),
            envoy: ["lb_policy": "MAGLEV", "common_lb_config": ["locality_weighted_lb_config": [:]]],
            weights: [1, 2, 3, 4, 5], zones: twoZones),
    ]

    private static let twoZones = [
        Zone(name: "near", weight: 3, hosts: [4, 0]), Zone(name: "far", weight: 1, hosts: [1, 3, 2]),
    ]

    private static func weighted(_ policy: BalancePolicy) -> BalanceConfig {
        var config = BalanceConfig(policy)
        config.locality = .weighted
        return config
    }
}

/// Envoy itself, asked which host it would take.
enum EnvoyOracle {
    struct Answer {
        /// The hosts' address and ports.
        var host: String
        var ports: [Int]
        /// By scenario, the number of the host for each key as a digit.
        var choices: [String: String]
    }

    static func ask(_ scenarios: [OracleScenario], _ program: String) throws -> Answer {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("envoy-oracle-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("oracle.py")
        try Data(script.utf8).write(to: file)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", file.path, program, folder.path, "\(OracleScenario.keyCount)"]
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        input.fileHandleForWriting.write(Data(JSONValue.array(scenarios.map(\.json)).encodedString().utf8))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let answer = try JSONValue.parse(text)
        return Answer(
            host: answer["host"]?.string ?? "",
            ports: (answer["ports"]?.array ?? []).compactMap { $0.int.map(Int.init) },
            choices: Dictionary(
                uniqueKeysWithValues: (answer["choices"]?.object ?? JSONObject()).map {
                    ($0.key, $0.value.string ?? "")
                }))
    }

    /// Starts Envoy with five listeners that answer with their number and one that balances over them, asks it for every key
    /// of every scenario, and prints what it answered.
    private static let script = """
        import http.client, json, os, random, socket, subprocess, sys, time
        envoy, folder, keys = sys.argv[1], sys.argv[2], int(sys.argv[3])
        scenarios = json.load(sys.stdin)
        # An address of its own: on 127.0.0.1 another test may take a port between our close and Envoy's bind.
        HOST = '127.%d.%d.%d' % (random.randint(64, 250), random.randint(1, 250), random.randint(1, 250))
        held = [socket.socket() for _ in range(6)]
        for s in held: s.bind((HOST, 0))
        *ports, front = [s.getsockname()[1] for s in held]
        for s in held: s.close()
        HCM = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
        ROUTER = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'
        def listener(port, routes):
            return {'address': {'socket_address': {'address': HOST, 'port_value': port}}, 'filter_chains': [{'filters': [{
                'name': 'http', 'typed_config': {'@type': HCM, 'stat_prefix': 'x',
                'http_filters': [{'name': 'router', 'typed_config': {'@type': ROUTER}}],
                'route_config': {'virtual_hosts': [{'name': 'all', 'domains': ['*'], 'routes': routes}]}}}]}]}
        def address(port): return {'socket_address': {'address': HOST, 'port_value': port}}
        def cluster(s):
            assignment = {'cluster_name': s['name'], 'endpoints': [
                {'locality': {'zone': z['name']}, 'load_balancing_weight': z['weight'], 'lb_endpoints': [
                    {'endpoint': {'address': address(ports[h['number']]), 'hostname': h['hostname']},
                     'load_balancing_weight': h['weight']} for h in z['hosts']]} for z in s['zones']]}
            # Envoy places by hostname only what came from DNS.
            kind = 'STRICT_DNS' if s['zones'][0]['hosts'][0]['hostname'] else 'STATIC'
            return dict(s['cluster'], name=s['name'], type=kind, load_assignment=assignment)
        config = {'static_resources': {
            'listeners': [listener(p, [{'match': {'prefix': '/'}, 'direct_response': {'status': 200, 'body':
                {'inline_string': str(i)}}}]) for i, p in enumerate(ports)] + [listener(front, [
                {'match': {'path': '/' + s['name']}, 'route': {'cluster': s['name'], 'hash_policy': [
                    {'header': {'header_name': 'x-key'}}]}} for s in scenarios])],
            'clusters': [cluster(s) for s in scenarios]}}
        path = os.path.join(folder, 'envoy.json')
        json.dump(config, open(path, 'w'))
        log = open(os.path.join(folder, 'log'), 'w')
        child = subprocess.Popen([envoy, '-c', path, '--concurrency', '1', '--use-dynamic-base-id', '-l', 'warning'],
            stdout=log, stderr=log)
        try:
            deadline = time.time() + 60
            while True:
                try:
                    connection = http.client.HTTPConnection(HOST, front, timeout=20)
                    connection.request('GET', '/' + scenarios[0]['name']); connection.getresponse().read(); break
                except OSError:
                    if time.time() > deadline or child.poll() is not None:
                        sys.exit(open(os.path.join(folder, 'log')).read())
                    time.sleep(0.05)
            choices = {}
            for s in scenarios:
                digits = ''
                for key in range(keys):
                    connection.request('GET', '/' + s['name'], headers={'x-key': 'key-%d' % key})
                    digits += connection.getresponse().read().decode()[:1]
                choices[s['name']] = digits
            print(json.dumps({'host': HOST, 'ports': ports, 'choices': choices}))
        finally:
            child.kill(); child.wait()
        """
}
