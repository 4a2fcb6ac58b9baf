import Bytes
import ClusterAPI
import ClusterClient
import Discovery
import Glibc
import HTTP
import JSON
import MeshControl
import MeshNode
import Reactor
import TLS
import Telemetry

// A node whose pods all want certificates at once, and the authority that gives them: both in this process, a thread each.
// Usage: bench-mesh-identity [--json] [PODS, 500 unless told]
// Beside it stand `openssl speed` figures of what nobody can do without: for each certificate one key, three signatures (request,
// certificate, and a third that is checked) and one check.

/// An API server's pods, by their names: `shop/pod-7` is bound to this node.
struct Pods: APITransport {
    func send(_ request: APIRequest) async throws -> JSONValue {
        guard request.verb == .get, let name = request.name else {
            throw StatusError.internalError("only pods are read")
        }
        return [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": ["name": .string(name), "namespace": "shop", "uid": .string("uid-\(name)")],
            "spec": ["nodeName": "n1", "serviceAccountName": "cart"],
        ]
    }

    func document(_ path: String) async throws -> JSONValue { .null }

    func watch(_ request: APIRequest) async throws -> any WatchStream { Silence() }

    private struct Silence: WatchStream {
        func next() async throws -> WatchEvent? {
            try await EventLoop.sleep(for: .seconds(3600))
            return nil
        }
    }
}

/// Seconds of CPU that a loop's thread has used.
func seconds(_ loop: EventLoop) async throws -> Double {
    try await loop.perform {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// Resident kilobytes of this process that no file backs.
func residentKilobytes() -> Int {
    Heap.giveBack()
    guard let text = try? Files.readText("/proc/self/statm") else { return 0 }
    let numbers = text.split(separator: " ").compactMap { Int($0) }
    return numbers.count > 2 ? (numbers[1] - numbers[2]) * 4 : 0
}

struct Figures {
    var pods: Int
    var milliseconds: Double
    var controlMicroseconds: Double
    var nodeMicroseconds: Double
    var kilobytes: Double
    var first: Double
}

func measure(_ count: Int, in folder: String) async throws -> Figures {
    let (controlGroup, nodeGroup) = (
        try EventLoopGroup(count: 1, name: "control"), try EventLoopGroup(count: 1, name: "node")
    )
    let (control, node) = (controlGroup.all[0], nodeGroup.all[0])
    let quiet = Log.shared
    quiet.configure(level: .error, format: .text)
    let cluster = try CertificateAuthority.create(commonName: "cluster")
    let serving = try cluster.issue(
        CertificateTemplate(
            subject: DistinguishedName(commonName: "control"), names: AlternativeNames(addresses: [.loopbackV4]),
            purpose: .server))
    let plane = try await control.perform {
        MeshControlPlane(KubeClient(Pods()), domain: "cluster.local", loop: control, log: quiet)
    }
    let service = try await control.perform {
        let authority = try LiveMeshAuthority(
            .own(directory: folder + "/mesh"), trustDomain: "cluster.local",
            passphrase: MeshPassphrase(path: folder + "/passphrase"), loop: control, log: quiet)
        return MeshPortService(
            plane, authority, cluster: [cluster.certificate], lifetime: .seconds(86400), metrics: MetricsRegistry(),
            log: quiet)
    }
    let server = HTTPServer(
        group: controlGroup, address: .ip(.loopbackV4, 0, scope: 0),
        tls: try TLSContext(
            serving: [serving], clientCertificates: .requested, trust: TrustPool([cluster.certificate]),
            protocols: ["h2"]),
        limits: DiscoveryServer.limits
    ) { _ in service }
    guard let port = try await server.start().port else { throw StatusError.internalError("no port") }
    let identity = try cluster.issue(
        CertificateTemplate(
            subject: DistinguishedName(commonName: "system:node:n1", organizations: ["system:nodes"]), purpose: .client)
    )
    let workloads = try MeshWorkloads(
        MeshNodeConfiguration(
            recordDirectory: folder + "/records",
            control: HTTPEndpoint(host: "127.0.0.1", port: port.rawValue, isSecure: true),
            authorities: TrustPool([cluster.certificate]), identity: identity), on: nodeGroup,
        metrics: MetricsRegistry(),
        log: quiet)

    func start(_ names: Range<Int>) async throws {
        for number in names {
            try await workloads.start(
                MeshPod(namespace: "shop", name: "pod-\(number)", uid: "uid-pod-\(number)", serviceAccount: "cart"),
                folder: "\(folder)/pods/\(number)")
        }
    }
    func served() async -> Int { await workloads.status().count { $0.serial != nil } }

    // The first pays for the connection.
    try await start(0..<1)
    while await served() < 1 { try await node.sleep(for: .milliseconds(1)) }
    let second = MonotonicTime.now()
    try await start(1..<2)
    while await served() < 2 { try await node.sleep(for: .microseconds(200)) }
    let one = MonotonicTime.now().duration(since: second) / .milliseconds(1)

    let resident = residentKilobytes()
    let (controlBefore, nodeBefore) = (try await seconds(control), try await seconds(node))
    let started = MonotonicTime.now()
    try await start(2..<(count + 2))
    while await served() < count + 2 { try await node.sleep(for: .milliseconds(5)) }
    let elapsed = MonotonicTime.now().duration(since: started) / .milliseconds(1)
    let (controlAfter, nodeAfter) = (try await seconds(control), try await seconds(node))
    let figures = Figures(
        pods: count, milliseconds: elapsed, controlMicroseconds: (controlAfter - controlBefore) * 1e6 / Double(count),
        nodeMicroseconds: (nodeAfter - nodeBefore) * 1e6 / Double(count),
        kilobytes: Double(residentKilobytes() - resident) / Double(count), first: one)
    for number in 0..<(count + 2) { await workloads.stop("uid-pod-\(number)") }
    await server.drain(deadline: .zero)
    await nodeGroup.shutdown()
    await controlGroup.shutdown()
    return figures
}

let arguments = CommandLine.arguments.dropFirst()
let count = arguments.compactMap { Int($0) }.first ?? 500
var template = Array("/tmp/weft-bench-XXXXXX".utf8CString)
guard let folder = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!).map { String(cString: $0) } })
else {
    exit(1)
}
raiseDescriptorLimit()

/// Three rounds; none where one failed.
func measureAll(_ count: Int, in folder: String) async -> [Figures] {
    defer { try? Files.removeTree(folder) }
    do {
        var rounds: [Figures] = []
        for round in 0..<3 {
            try Files.makeDirectories("\(folder)/\(round)")
            rounds.append(try await measure(count, in: "\(folder)/\(round)"))
        }
        return rounds
    } catch {
        print("bench-mesh-identity: \(error)")
        return []
    }
}

extension [Figures] {
    func median(_ value: (Figures) -> Double) -> Double { map(value).sorted()[count / 2] }
}

let rounds = await measureAll(count, in: folder)

/// `openssl speed`'s operations a second, as microseconds each: signing and checking with P-256.
func openssl() -> (sign: Double, verify: Double)? {
    guard let pipe = popen("openssl speed -seconds 1 ecdsap256 2>/dev/null | tail -1", "r") else { return nil }
    defer { pclose(pipe) }
    var line = [CChar](repeating: 0, count: 512)
    guard fgets(&line, Int32(line.count), pipe) != nil else { return nil }
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let words = text.split { $0 == " " || $0 == "\n" }
    guard words.count >= 2, let verify = Double(words[words.count - 1]), let sign = Double(words[words.count - 2])
    else {
        return nil
    }
    return (1e6 / sign, 1e6 / verify)
}

guard !rounds.isEmpty else { exit(1) }
let bare = openssl()
if arguments.contains("--json") {
    let json: JSONValue = [
        "pods": .int(Int64(count)), "milliseconds": .double(rounds.median(\.milliseconds)),
        "one_pod_milliseconds": .double(rounds.median(\.first)),
        "control_cpu_us": .double(rounds.median(\.controlMicroseconds)),
        "node_cpu_us": .double(rounds.median(\.nodeMicroseconds)), "node_kb_a_pod": .double(rounds.median(\.kilobytes)),
        "openssl_sign_us": .double(bare?.sign ?? 0), "openssl_verify_us": .double(bare?.verify ?? 0),
    ]
    print(json.encodedString())
} else {
    func text(_ value: Double) -> String {
        String(Int((value * 10).rounded()) / 10) + "." + String(Int((value * 10).rounded()) % 10)
    }
    print("\(count) pods of one node, three rounds, medians")
    print("  all have their certificates after   \(text(rounds.median(\.milliseconds))) ms")
    print("  one pod, from start to certificate  \(text(rounds.median(\.first))) ms")
    print("  control plane, CPU a certificate    \(text(rounds.median(\.controlMicroseconds))) us")
    print("  node, CPU a pod                     \(text(rounds.median(\.nodeMicroseconds))) us")
    print("  node, memory a pod                  \(text(rounds.median(\.kilobytes))) KB")
    if let bare { print("  openssl: P-256 sign \(text(bare.sign)) us, verify \(text(bare.verify)) us") }
}
