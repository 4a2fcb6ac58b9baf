// swift-tools-version: 6.2
import PackageDescription

// The rooms, lowest first. A target may depend only on rooms above it in this file; Node, Mesh and DNS
// never depend on each other (docs/architecture.md says why).

/// One line of the house: a module, the folder it lives in, and what it rests on.
///
/// A `hot` room's release build leaves out the run-time checks of exclusive access, which debug builds and with them the tests
/// make: 0.35 of 0.8 µs that a request through `HTTPServer` spends in user space were these checks (bench-http, hot).
func room(
    _ name: String, _ path: String, _ needs: [String] = [], data: [String] = [], resources: [Resource] = [],
    hot: Bool = false
) -> Target {
    .target(
        name: name, dependencies: needs.map(dependency), path: "Sources/" + path, exclude: data,
        resources: resources,
        swiftSettings: swiftSettings
            + (hot ? [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))] : []))
}

func program(_ name: String, _ needs: [String]) -> Target {
    .executableTarget(
        name: name, dependencies: needs.map(dependency), path: "Sources/Commands/" + name,
        swiftSettings: swiftSettings)
}

func tests(_ name: String, _ path: String, _ needs: [String], data: [String] = []) -> Target {
    .testTarget(
        name: name, dependencies: needs.map(dependency), path: "Tests/" + path, exclude: data,
        swiftSettings: swiftSettings)
}

func benchmark(_ name: String, _ needs: [String]) -> Target {
    .executableTarget(
        name: name, dependencies: needs.map(dependency), path: "Benchmarks/" + name, swiftSettings: swiftSettings)
}

func library(_ name: String, _ pkgConfig: String, _ debian: String) -> Target {
    .systemLibrary(name: name, path: "Sources/" + name, pkgConfig: pkgConfig, providers: [.apt([debian])])
}

func dependency(_ name: String) -> Target.Dependency {
    switch name {
    case "ArgumentParser": .product(name: "ArgumentParser", package: "swift-argument-parser")
    default: .target(name: name)
    }
}

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let targets: [Target] = [
    // C at the wall: headers and inline shims only.
    .target(name: "CLinux", path: "Sources/CLinux"),
    library("CNetlink", "libnftnl libmnl", "libnftnl-dev libmnl-dev"),
    library("COpenSSL", "openssl", "libssl-dev"),
    library("CNghttp2", "libnghttp2", "libnghttp2-dev"),
    // C++ behind a C face.
    .target(
        name: "CRE2", path: "Sources/CRE2",
        linkerSettings: [.linkedLibrary("re2"), .linkedLibrary("stdc++")]),
    library("CYAML", "yaml-0.1", "libyaml-dev"),
    library("CZlib", "zlib", "zlib1g-dev"),
    library("CSQLite", "sqlite3", "libsqlite3-dev"),

    // Runtime: knows no protocol and no Kubernetes.
    room("Bytes", "Runtime/Bytes"),
    room("Flags", "Runtime/Flags"),
    room("JSON", "Runtime/JSON", ["Bytes"]),
    room("YAML", "Runtime/YAML", ["JSON", "CYAML"]),
    room("Delta", "Runtime/Delta"),
    room("Reactor", "Runtime/Reactor", ["CLinux", "Bytes"], hot: true),
    room("Telemetry", "Runtime/Telemetry", ["Bytes", "JSON"]),

    // Wire: protocols as codecs without I/O, then thin drivers on Reactor.
    room("Protobuf", "Wire/Protobuf"),
    room("Compression", "Wire/Compression", ["CZlib"]),
    room("DNSMessage", "Wire/DNSMessage", ["Bytes"]),
    room("Netlink", "Wire/Netlink", ["Reactor", "Bytes", "CLinux", "CNetlink"]),
    room("TLS", "Wire/TLS", ["Bytes", "JSON", "COpenSSL"], hot: true),
    room("HTTP", "Wire/HTTP", ["Reactor", "Bytes", "TLS", "JSON", "Telemetry", "CNghttp2"], hot: true),

    room("GRPC", "Wire/GRPC"),

    // Cluster: the Kubernetes API and what stands behind it.
    room("ClusterAPI", "Cluster/API", ["Bytes", "JSON", "Protobuf"]),
    room("ClusterClient", "Cluster/Client", ["ClusterAPI", "Reactor", "HTTP", "TLS", "JSON", "Telemetry", "Bytes"]),
    room("Store", "Cluster/Store", ["Reactor", "Bytes", "Telemetry", "CSQLite"]),
    room(
        "APIServer", "Cluster/APIServer",
        ["ClusterAPI", "ClusterClient", "Store", "HTTP", "TLS", "JSON", "Reactor", "Telemetry", "Bytes", "YAML"]),
    room(
        "Controllers", "Cluster/Controllers",
        ["ClusterAPI", "ClusterClient", "TLS", "JSON", "Reactor", "Telemetry", "Bytes"]),
    room("Scheduler", "Cluster/Scheduler", ["ClusterAPI", "ClusterClient", "JSON", "Reactor", "Telemetry", "Bytes"]),

    // Node: what happens on a node.
    room("NodeTables", "Node/Tables", ["Netlink", "Reactor", "Bytes"]),
    room(
        "ServiceProxy", "Node/ServiceProxy",
        [
            "NodeTables", "ClusterAPI", "ClusterClient", "Netlink", "Delta", "JSON", "Reactor", "HTTP", "Telemetry",
            "Bytes",
        ]),
    room(
        "Policy", "Node/Policy",
        ["NodeTables", "ClusterAPI", "ClusterClient", "Netlink", "Delta", "JSON", "Reactor", "Telemetry", "Bytes"]),
    room("PodNetwork", "Node/PodNetwork", ["Netlink", "Delta", "JSON", "Reactor", "Telemetry", "Bytes", "CLinux"]),
    room(
        "PodRuntime", "Node/PodRuntime",
        ["ClusterAPI", "ClusterClient", "PodNetwork", "JSON", "Reactor", "HTTP", "TLS", "Telemetry", "Bytes", "CLinux"]),

    // Mesh: the sidecar and what configures it.
    room("MeshAPI", "Mesh/MeshAPI", ["Bytes"]),
    room("XDS", "Mesh/XDS", ["Bytes", "JSON", "YAML", "Protobuf"], data: ["Protos"]),
    room(
        "Proxy", "Mesh/Proxy",
        [
            "XDS", "GRPC", "Protobuf", "Compression", "HTTP", "DNSMessage", "TLS", "JSON", "Reactor", "Telemetry",
            "Bytes",
            "CLinux",
            "CRE2",
        ],
        hot: true),

    room("Discovery", "Mesh/DiscoveryServer", ["XDS", "GRPC", "HTTP", "TLS", "Protobuf", "Reactor", "Bytes"]),
    room("MeshIdentity", "Mesh/Identity", ["Protobuf", "TLS", "Bytes"]),
    room(
        "MeshControl", "Mesh/MeshControl",
        [
            "MeshAPI", "MeshIdentity", "Discovery", "XDS", "GRPC", "Protobuf", "ClusterAPI", "ClusterClient", "HTTP",
            "TLS",
            "JSON", "YAML", "Reactor",
            "Telemetry",
            "Bytes", "CRE2",
        ]),
    room(
        "MeshNode", "Mesh/MeshNode",
        [
            "MeshAPI", "MeshIdentity", "Discovery", "XDS", "GRPC", "Netlink", "ClusterClient", "HTTP", "TLS", "JSON",
            "Reactor", "Telemetry", "Bytes",
        ]),

    // DNS: zones, plugins, server.
    room(
        "ClusterDNS", "DNS",
        ["DNSMessage", "ClusterAPI", "ClusterClient", "JSON", "Reactor", "HTTP", "Telemetry", "Bytes"]),

    // Commands: flags and wiring, nothing else.
    program(
        "weft",
        [
            "CLinux", "ServiceProxy", "Policy", "MeshAPI", "ClusterAPI", "ClusterClient", "Netlink", "HTTP", "TLS",
            "JSON",
            "Reactor", "Bytes", "ArgumentParser", "YAML",
        ]),
    program(
        "weft-control",
        [
            "APIServer", "Store", "Controllers", "Scheduler", "MeshAPI", "MeshControl", "Discovery", "ClusterAPI",
            "ClusterClient",
            "JSON",
            "Reactor", "TLS", "HTTP", "Telemetry", "Bytes", "ArgumentParser", "YAML",
        ]),
    program(
        "weft-node",
        [
            "ServiceProxy", "PodNetwork", "PodRuntime", "Policy", "MeshAPI", "MeshNode", "ClusterAPI", "ClusterClient",
            "Netlink",
            "JSON",
            "Reactor",
            "TLS",
            "HTTP", "Telemetry", "Bytes", "ArgumentParser", "YAML",
        ]),
    program("weft-cni", ["PodNetwork", "JSON", "Reactor", "Bytes"]),
    program(
        "weft-dns", ["ClusterDNS", "Flags", "ClusterClient", "JSON", "Reactor", "HTTP", "TLS", "Telemetry", "Bytes"]),
    program("weft-proxy", ["Proxy", "Flags", "XDS", "HTTP", "Reactor", "Bytes"]),
    program("shop", ["Flags", "HTTP", "JSON", "Reactor", "Bytes"]),

    // Tests: the same tree again.
    .target(
        name: "TestSupport", dependencies: ["Reactor", "Bytes", "JSON", "CLinux"].map(dependency),
        path: "Tests/Support",
        swiftSettings: swiftSettings),
    .target(
        name: "ClusterFixture",
        dependencies: [
            "APIServer", "ClusterAPI", "ClusterClient", "Store", "TLS", "JSON", "Reactor", "Bytes", "TestSupport",
        ].map(dependency),
        path: "Tests/ClusterFixture",
        swiftSettings: swiftSettings),
    tests("FlagsTests", "Runtime/FlagsTests", ["Flags"]),
    tests("BytesTests", "Runtime/BytesTests", ["Bytes"]),
    tests("JSONTests", "Runtime/JSONTests", ["JSON", "Bytes"]),
    tests("YAMLTests", "Runtime/YAMLTests", ["YAML", "JSON"]),
    tests("DeltaTests", "Runtime/DeltaTests", ["Delta"]),
    tests("ReactorTests", "Runtime/ReactorTests", ["Reactor", "Bytes", "CLinux", "TestSupport"]),
    tests("TelemetryTests", "Runtime/TelemetryTests", ["Telemetry", "Bytes"]),
    tests("ProtobufTests", "Wire/ProtobufTests", ["Protobuf"]),
    tests("GRPCTests", "Wire/GRPCTests", ["GRPC"]),
    tests("DNSMessageTests", "Wire/DNSMessageTests", ["DNSMessage", "Bytes"]),
    tests("NetlinkTests", "Wire/NetlinkTests", ["Netlink", "Reactor", "Bytes", "CLinux", "CNetlink", "TestSupport"]),
    tests("TLSTests", "Wire/TLSTests", ["TLS", "COpenSSL", "Reactor", "JSON", "Bytes"]),
    tests("HTTPTests", "Wire/HTTPTests", ["HTTP", "TLS", "Reactor", "Bytes", "JSON", "TestSupport"]),
    tests("ClusterAPITests", "Cluster/APITests", ["ClusterAPI", "JSON", "Bytes"]),
    tests(
        "ClusterClientTests", "Cluster/ClientTests",
        ["ClusterClient", "ClusterAPI", "HTTP", "JSON", "Reactor", "Telemetry", "Bytes", "TestSupport"]),
    tests("StoreTests", "Cluster/StoreTests", ["Store", "CSQLite"]),
    tests(
        "APIServerTests", "Cluster/APIServerTests",
        ["APIServer", "ClusterAPI", "ClusterClient", "Store", "HTTP", "TLS", "JSON", "Reactor", "Bytes", "TestSupport"]),
    tests(
        "ControllersTests", "Cluster/ControllersTests",
        [
            "Controllers", "APIServer", "Store", "TLS", "ClusterAPI", "ClusterClient", "JSON", "Reactor", "Bytes",
            "TestSupport",
        ]),
    tests(
        "KubectlTests", "Cluster/KubectlTests",
        ["APIServer", "Controllers", "ClusterClient", "Store", "HTTP", "TLS", "Reactor", "Bytes"]),
    tests(
        "SchedulerTests", "Cluster/SchedulerTests",
        ["Scheduler", "ClusterAPI", "ClusterClient", "JSON", "Reactor", "Bytes"]),
    tests(
        "ServiceProxyTests", "Node/ServiceProxyTests",
        [
            "ServiceProxy", "NodeTables", "ClusterAPI", "ClusterClient", "Netlink", "Delta", "JSON", "Reactor",
            "Telemetry", "Bytes", "TestSupport",
        ]),
    tests(
        "PolicyTests", "Node/PolicyTests",
        [
            "Policy", "NodeTables", "ClusterAPI", "ClusterClient", "Netlink", "Delta", "JSON", "Reactor", "Bytes",
            "TestSupport",
        ]),
    tests(
        "PodNetworkTests", "Node/PodNetworkTests",
        ["PodNetwork", "Netlink", "Delta", "JSON", "Reactor", "Bytes", "CLinux", "TestSupport"]),
    tests(
        "PodRuntimeTests", "Node/PodRuntimeTests",
        [
            "PodRuntime", "PodNetwork", "Netlink", "ClusterAPI", "ClusterClient", "HTTP", "TLS", "JSON", "Reactor",
            "Bytes",
            "TestSupport",
        ]),
    tests("XDSTests", "Mesh/XDSTests", ["XDS", "JSON", "Bytes", "Reactor", "TestSupport"], data: ["Oracle"]),
    tests(
        "MeshControlTests", "Mesh/MeshControlTests",
        [
            "MeshAPI", "MeshControl", "MeshIdentity", "Discovery", "XDS", "GRPC", "APIServer", "ClusterAPI",
            "ClusterClient",
            "Store", "HTTP",
            "TLS", "JSON",
            "Telemetry", "Reactor", "Bytes", "TestSupport", "ClusterFixture",
        ], data: ["grpc_peer.py"]),
    tests(
        "SidecarTests", "Mesh/SidecarTests",
        [
            "weft-proxy", "MeshControl", "MeshNode", "MeshAPI", "Discovery", "XDS", "ClusterAPI", "ClusterClient",
            "HTTP", "TLS", "JSON", "Telemetry", "Reactor", "Bytes", "CLinux", "TestSupport", "ClusterFixture",
        ], data: ["app.py"]),
    tests(
        "MeshNodeTests", "Mesh/MeshNodeTests",
        [
            "MeshNode", "MeshAPI", "Netlink", "weft-control", "weft-proxy", "YAML", "MeshIdentity", "MeshControl",
            "Discovery",
            "XDS",
            "GRPC", "APIServer",
            "ClusterAPI",
            "ClusterClient", "Store", "HTTP", "TLS", "JSON", "Telemetry", "Reactor", "Bytes", "TestSupport",
            "ClusterFixture",
        ], data: ["certificate_peer.py", "authorizer.py"]),
    tests(
        "ProxyTests", "Mesh/ProxyTests",
        ["Proxy", "XDS", "Compression", "TLS", "DNSMessage", "Reactor", "Bytes", "CLinux", "JSON", "TestSupport"],
        data: ["ControlPlane", "Services"]),
    tests(
        "ClusterDNSTests", "DNSTests",
        ["ClusterDNS", "DNSMessage", "ClusterAPI", "JSON", "Reactor", "Bytes", "TestSupport"]),
    tests(
        "WeftTests", "Commands/WeftTests",
        ["weft", "Policy", "ServiceProxy", "ClusterAPI", "JSON", "Bytes", "Reactor", "TestSupport"]),
    tests(
        "IntegrationTests", "Integration",
        ["ClusterAPI", "ClusterClient", "Netlink", "HTTP", "TLS", "JSON", "Reactor", "Bytes", "TestSupport"]),

    tests(
        "ProxyOracleTests", "Oracle",
        ["weft-proxy", "XDS", "YAML", "JSON", "Reactor", "Bytes", "CNghttp2", "TestSupport"],
        data: ["Cases"]),

    // Benchmarks: one program a subject, one table out.
    benchmark("bench-http", ["HTTP", "Reactor", "Bytes"]),
    benchmark("bench-tls", ["TLS", "Reactor", "Bytes"]),
    benchmark("bench-api", ["Store", "HTTP", "TLS", "JSON", "Reactor", "Bytes"]),
    benchmark(
        "bench-service-proxy",
        ["ServiceProxy", "ClusterAPI", "Netlink", "HTTP", "Reactor", "JSON", "Bytes", "CLinux"]),
    benchmark("bench-policy", ["Policy", "ClusterAPI", "Netlink", "JSON", "Reactor", "Bytes"]),
    benchmark("bench-proxy", ["Flags", "HTTP", "TLS", "Reactor", "Bytes"]),
    benchmark("bench-cni", ["PodNetwork", "Netlink", "JSON", "Reactor", "Bytes"]),
    benchmark("bench-pod-start", ["ClusterAPI", "ClusterClient", "YAML", "JSON", "Reactor"]),
    benchmark("bench-json", ["ClusterAPI", "JSON"]),
    benchmark("bench-xds", ["XDS", "JSON", "YAML", "Reactor"]),
    benchmark(
        "bench-mesh",
        [
            "MeshControl", "Discovery", "XDS", "APIServer", "Store", "ClusterAPI", "ClusterClient", "HTTP", "TLS",
            "JSON", "YAML", "Telemetry", "Reactor", "Bytes", "CLinux",
        ]),
]

/// `WEFT_ONLY=NetlinkTests,Delta swift build --build-tests` narrows the package to these targets and what they rest on,
/// so that work on one room does not build the house.
func narrowed(_ all: [Target], to names: String?) -> [Target] {
    guard let names, !names.isEmpty else { return all }
    var wanted = Set(names.split(separator: ",").map(String.init))
    var grew = true
    while grew {
        let needed = all.filter { wanted.contains($0.name) }.flatMap(\.dependencies).compactMap { dependency in
            if case .targetItem(let name, _) = dependency { name } else { nil }
        }
        grew = !wanted.isSuperset(of: needed)
        wanted.formUnion(needed)
    }
    return all.filter { wanted.contains($0.name) }
}

let package = Package(
    name: "weft",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: narrowed(targets, to: Context.environment["WEFT_ONLY"]),
    swiftLanguageModes: [.v6]
)
