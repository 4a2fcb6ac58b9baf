// What the service proxy costs at size: loading, changing, restarting, remembering. Works in a network namespace of its own.

import Bytes
import ClusterAPI
import Glibc
import JSON
import Netlink
import ServiceProxy

/// One size of cluster.
struct Load {
    var services: Int
    var endpoints: Int

    var name: String { "\(services)x\(endpoints)" }

    func service(_ number: Int) -> KubeObject {
        KubeObject(json: [
            "metadata": ["namespace": "bench", "name": .string("s\(number)")],
            "spec": [
                "type": "ClusterIP", "clusterIP": .string("\(address(10, 96 << 16, number))"),
                "ports": [["name": "http", "protocol": "TCP", "port": 80]],
            ],
        ])
    }

    func slice(_ number: Int, endpoints count: Int) -> KubeObject {
        let endpoints = (0..<count).map { index -> JSONValue in
            [
                "addresses": [.string("\(address(10, 128 << 16, number * 16 + index))")],
                "conditions": ["ready": true, "serving": true, "terminating": false],
                "nodeName": .string("node-\((number + index) % 100)"),
            ]
        }
        return KubeObject(json: [
            "metadata": [
                "namespace": "bench", "name": .string("s\(number)-x"),
                "labels": ["kubernetes.io/service-name": .string("s\(number)")],
            ],
            "addressType": "IPv4", "ports": [["name": "http", "protocol": "TCP", "port": 8080]],
            "endpoints": .array(endpoints),
        ])
    }

    private func address(_ net: UInt32, _ base: Int, _ number: Int) -> IPAddress {
        IPAddress(v4: net << 24 | UInt32(base + number))
    }
}

struct Measurement {
    var milliseconds: Double
    var cpuMilliseconds: Double
}

func measured(_ body: () throws -> Void) rethrows -> Measurement {
    func cpu() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000
    }
    let (start, before) = (ContinuousClock.now, cpu())
    try body()
    let took = ContinuousClock.now - start
    let milliseconds = Double(took.components.seconds) * 1000 + Double(took.components.attoseconds) / 1e15
    return Measurement(milliseconds: milliseconds, cpuMilliseconds: cpu() - before)
}

func residentMegabytes() -> Double {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return 0 }
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
    return pages * 4096 / 1e6
}

func percentile(_ values: [Double], _ part: Double) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
}

func text(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }

struct Row {
    var cells: [(name: String, value: String)]
}

func run(_ load: Load) throws -> Row {
    let namespace = try NamespaceHandle.create()
    var configuration = ServiceProxyConfiguration(node: NodeIdentity(name: "node-1"))
    configuration.families = [.v4]
    func fill(_ proxy: ServiceProxy) {
        for number in 0..<load.services {
            if let spec = ServiceSpec(load.service(number)) { proxy.set(spec) }
            if let spec = EndpointSliceSpec(load.slice(number, endpoints: load.endpoints), on: configuration.node) {
                proxy.set(spec)
            }
        }
    }
    var proxy: ServiceProxy? = try ServiceProxy(configuration, namespace: namespace.descriptor)
    if let proxy { fill(proxy) }
    var elements = 0
    let full = try measured { elements = try proxy?.sync().elementWrites ?? 0 }
    let memory = residentMegabytes()

    // One Service's endpoints change by one, up and down; and one Service comes and goes.
    var changes: [Measurement] = []
    for round in 0..<200 {
        let number = round * 37 % load.services
        changes.append(
            try measured {
                if round % 4 < 2 {
                    let count = round % 2 == 0 ? load.endpoints + 1 : load.endpoints
                    let number = (round / 2) * 37 % load.services
                    if let spec = EndpointSliceSpec(load.slice(number, endpoints: count), on: configuration.node) {
                        proxy?.set(spec)
                    }
                } else if round % 4 == 2 {
                    proxy?.removeService(ObjectKey(namespace: "bench", name: "s\(number)"))
                } else if let spec = ServiceSpec(load.service((round - 1) * 37 % load.services)) {
                    proxy?.set(spec)
                }
                try proxy?.sync()
            })
    }
    let burst = try measured {
        for number in 0..<min(1000, load.services) {
            if let spec = EndpointSliceSpec(load.slice(number, endpoints: load.endpoints - 1), on: configuration.node) {
                proxy?.set(spec)
            }
        }
        try proxy?.sync()
    }
    for number in 0..<min(1000, load.services) {
        if let spec = EndpointSliceSpec(load.slice(number, endpoints: load.endpoints), on: configuration.node) {
            proxy?.set(spec)
        }
    }
    try proxy?.sync()

    // As a daemon that starts again: objects are in memory, the table is read and compared.
    proxy = nil
    var writes = 0
    var again: ServiceProxy?
    let adoption = try measured {
        again = try ServiceProxy(configuration, namespace: namespace.descriptor)
        if let again { fill(again) }
        writes = try again?.sync().elementWrites ?? -1
    }
    try again?.removeTables()
    let times = changes.map(\.milliseconds)
    return Row(cells: [
        ("load", load.name), ("elements", "\(elements)"), ("full sync ms", text(full.milliseconds)),
        ("cpu ms", text(full.cpuMilliseconds)), ("change p50 ms", text(percentile(times, 0.5))),
        ("p99 ms", text(percentile(times, 0.99))),
        ("cpu ms/change", text(changes.map(\.cpuMilliseconds).reduce(0, +) / Double(changes.count))),
        ("burst 1000 ms", text(burst.milliseconds)), ("restart ms", text(adoption.milliseconds)),
        ("restart writes", "\(writes)"), ("resident MB", text(memory)),
    ])
}

/// Each size in a process of its own, so that its memory is its own.
let arguments = CommandLine.arguments.dropFirst().filter { $0 != "--json" }
let isJSON = CommandLine.arguments.contains("--json")
if let one = arguments.first {
    let parts = one.split(separator: "x").compactMap { Int($0) }
    guard parts.count == 2, parts[0] > 0, (2...15).contains(parts[1]) else {
        print("usage: bench-service-proxy [--json] [SERVICESxENDPOINTS (2 to 15)]")
        exit(2)
    }
    let row = try run(Load(services: parts[0], endpoints: parts[1]))
    if isJSON {
        print(
            JSONValue.object(JSONObject(row.cells.map { (key: $0.name, value: JSONValue.string($0.value)) }))
                .encodedString())
    } else {
        for (name, value) in row.cells { print("\(name): \(value)") }
    }
} else {
    let program = CommandLine.arguments[0]
    for load in ["1000x10", "10000x10", "44000x5"] {
        let status = system("\(program) \(isJSON ? "--json " : "")\(load)")
        guard status == 0 else { exit(1) }
        if !isJSON { print("") }
    }
}
