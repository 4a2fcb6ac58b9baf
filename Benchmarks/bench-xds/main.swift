import Glibc
import JSON
import Reactor
import XDS
import YAML

// Envoy's configuration, one thread: what a proxy's start and a control plane's word cost before anything is built from them.
// Usage: bench-xds [--json] [CLUSTERS, 5000 unless told]
// With WEFT_ENVOY=path of an Envoy, that Envoy's `--mode validate` of the same file stands beside.

/// Seconds of CPU that this process has used.
func processSeconds(_ clock: clockid_t = CLOCK_PROCESS_CPUTIME_ID) -> Double {
    var time = timespec()
    clock_gettime(clock, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Milliseconds of CPU: the median of five calls.
func milliseconds(_ body: () throws -> Void) rethrows -> Double {
    var rounds: [Double] = []
    for _ in 0..<5 {
        let start = processSeconds()
        try body()
        rounds.append((processSeconds() - start) * 1e3)
    }
    return rounds.sorted()[2]
}

/// Resident kilobytes of this process that no file backs.
func residentKilobytes() -> Int {
    Heap.giveBack()
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
    let fields = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.split(separator: UInt8(ascii: " "))
    let numbers = fields.compactMap { Int(String(decoding: $0, as: UTF8.self)) }
    return numbers.count > 2 ? (numbers[1] - numbers[2]) * 4 : 0
}

/// A cluster as a mesh has it: ten endpoints, limits, outlier detection, HTTP/2 upstream.
func cluster(_ number: Int) -> JSONValue {
    let endpoints: [JSONValue] = (1...10).map { host in
        let address: JSONValue = [
            "socket_address": [
                "address": .string("10.\(number >> 8 & 255).\(number & 255).\(host)"), "port_value": 8080,
            ]
        ]
        return ["endpoint": ["address": address], "load_balancing_weight": 1]
    }
    return [
        "name": .string("outbound|80||service-\(number).shop.svc.cluster.local"), "connect_timeout": "10s",
        "type": "STATIC", "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": ["thresholds": [["max_connections": 4096, "max_requests": 4096, "max_retries": 3]]],
        "outlier_detection": ["consecutive_5xx": 5, "interval": "10s", "base_ejection_time": "30s"],
        "load_assignment": [
            "cluster_name": .string("service-\(number)"), "endpoints": [["lb_endpoints": .array(endpoints)]],
        ],
        "typed_extension_protocol_options": [
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": [
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": ["http2_protocol_options": [:]],
            ]
        ],
    ]
}

var arguments = CommandLine.arguments.dropFirst()
let printsJSON = arguments.contains("--json")
arguments.removeAll { $0 == "--json" }
let count = arguments.first.flatMap { Int($0) } ?? 5000

let secondsBefore = processSeconds()
let bootstrapType = ProtoSchema.envoy.message(Bootstrap.typeName)!
let schemaMilliseconds = (processSeconds() - secondsBefore) * 1e3

let document: JSONValue = ["static_resources": ["clusters": .array((0..<count).map(cluster))]]
let json = document.encodedString()
let yaml = try YAML.text(document)
let limits = YAMLLimits(size: 1 << 30, nodes: 1 << 30)

let kilobytesBefore = residentKilobytes()
let message = try Message(json: document, type: bootstrapType)
let messageKilobytes = residentKilobytes() - kilobytesBefore
let binary = message.binary()
func heldSet() throws -> ResourceSet {
    var set = ResourceSet()
    let bootstrap = try Bootstrap.read(binary: binary, name: "bench")
    _ = set.replace(.cluster, with: try bootstrap.staticResources()[.cluster] ?? [])
    return set
}
let kilobytesWithoutSet = residentKilobytes()
let held = try heldSet()
let setKilobytes = residentKilobytes() - kilobytesWithoutSet
let resources = try Bootstrap.read(binary: binary, name: "bench").staticResources()[.cluster]!

var table: [(row: String, unit: String, value: Double)] = [
    ("schema, first message", "ms", schemaMilliseconds),
    ("YAML, size", "KB", Double(yaml.utf8.count) / 1024), ("JSON, size", "KB", Double(json.utf8.count) / 1024),
    ("protobuf, size", "KB", Double(binary.count) / 1024), ("messages, resident", "KB", Double(messageKilobytes)),
    ("held in a set, resident", "KB", Double(setKilobytes)),
    ("YAML text to value", "ms", try milliseconds { _ = try YAML.parse(yaml, limits: limits) }),
    ("JSON text to value", "ms", try milliseconds { _ = try JSONValue.parse(json) }),
    ("value to messages", "ms", try milliseconds { _ = try Message(json: document, type: bootstrapType) }),
    ("protobuf to messages", "ms", try milliseconds { _ = try Message(binary: binary, type: bootstrapType) }),
    ("messages to protobuf", "ms", milliseconds { _ = message.binary() }),
    ("rules of the API", "ms", try milliseconds { _ = try ConfigNode(message, from: ConfigText(name: "bench")) }),
    (
        "reading each cluster by name", "ms",
        try milliseconds {
            for resource in resources {
                let node = try resource.node()
                _ = (node.string("name"), node.duration("connect_timeout"), node.enumName("type"))
                _ = (node.enumName("lb_policy"), node.message("circuit_breakers"), node.message("outlier_detection"))
                for locality in node.message("load_assignment")?.messages("endpoints") ?? [] {
                    for endpoint in locality.messages("lb_endpoints") {
                        let socket = endpoint.message("endpoint")?.message("address")?.message("socket_address")
                        _ = (socket?.string("address"), socket?.uint32("port_value"))
                        _ = endpoint.uint32IfSet("load_balancing_weight")
                    }
                }
                _ = try node.typedMap("typed_extension_protocol_options")
            }
        }
    ),
    (
        "a state of the world, nothing new", "ms",
        {
            var set = ResourceSet()
            _ = set.replace(.cluster, with: resources)
            return milliseconds { precondition(set.replace(.cluster, with: resources).isEmpty) }
        }()
    ),
    (
        "all: YAML file to resources", "ms",
        try milliseconds {
            let bootstrap = try Bootstrap.read([ConfigText(name: "bench", text: yaml)])
            let read = try bootstrap.staticResources()[.cluster]?.count
            precondition(read == count)
        }
    ),
]

if let envoy = getenv("WEFT_ENVOY").map({ String(cString: $0) }) {
    var path = Array("/tmp/weft-bench-XXXXXX.yaml".utf8CString)
    let descriptor = mkstemps(&path, 5)
    let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unlink(name) }
    _ = yaml.utf8CString.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count - 1) }
    var rounds: [Double] = []
    for _ in 0..<3 {
        let start = processSeconds(CLOCK_MONOTONIC)
        precondition(
            system("'\(envoy)' --mode validate -l critical -c \(name) >/dev/null 2>&1") == 0, "Envoy refuses it")
        rounds.append((processSeconds(CLOCK_MONOTONIC) - start) * 1e3)
    }
    table.append(("Envoy --mode validate of the same file, wall clock", "ms", rounds.sorted()[1]))
}

if printsJSON {
    let rows = table.map { row -> JSONValue in
        ["row": .string(row.row), "unit": .string(row.unit), "value": .double(row.value)]
    }
    print((["clusters": .int(Int64(count)), "rows": .array(rows)] as JSONValue).encodedString())
} else {
    print("\(count) clusters of ten endpoints, one thread, CPU time, median of five")
    for (row, unit, value) in table {
        let text = value < 10 ? "\((value * 1000).rounded() / 1000)" : "\(Int(value.rounded()))"
        print("  " + row + String(repeating: " ", count: max(1, 52 - row.count)) + text + " " + unit)
    }
}
