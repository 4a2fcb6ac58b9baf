import Bytes
import Glibc
import HTTP
import JSON
import Reactor
import Store
import TLS

/// The store alone, in this process.
func benchStore(_ table: inout ResultTable) async throws {
    let folder = try Server.makeFolder()
    defer { try? Files.removeTree(folder) }
    let store = try SQLiteStore(path: folder + "/store.db")
    defer { store.close() }
    let value = [UInt8](repeating: 7, count: valueBytes)
    let figures = try await load { writer, count in
        _ = try await store.create("/registry/bench/\(writer)/\(count)", value)
    }
    table.add("store: creates, \(writers) writers, 1 KiB, synced", "/s", figures.rate)
    table.add("store: create p50", "µs", percentile(figures.latencies, 0.5))
    table.add("store: create p99", "µs", percentile(figures.latencies, 0.99))
    table.add("store: writes a sync", "", Double(store.statistics.writes) / Double(max(1, store.statistics.commits)))
}

/// Runs the writers for a round, each with its own counter.
func load(
    _ work: @escaping @Sendable (_ writer: Int, _ count: Int) async throws -> Void
) async throws -> (rate: Double, latencies: [Double]) {
    let clock = ContinuousClock()
    let begin = clock.now
    let latencies = try await withThrowingTaskGroup(of: [Double].self) { tasks in
        for writer in 0..<writers {
            tasks.addTask {
                var samples: [Double] = []
                var count = 0
                while clock.now - begin < roundTime {
                    let before = clock.now
                    try await work(writer, count)
                    samples.append((clock.now - before).microseconds)
                    count += 1
                }
                return samples
            }
        }
        return try await tasks.reduce(into: []) { $0 += $1 }
    }
    return (Double(latencies.count) / (clock.now - begin).inSeconds, latencies)
}

/// weft-control without controllers and scheduler: the API server over TLS.
func benchAPI(_ group: EventLoopGroup, _ table: inout ResultTable) async throws {
    let folder = try Server.makeFolder()
    let port = try Server.freePort()
    let program =
        (CommandLine.arguments[0].split(separator: "/", omittingEmptySubsequences: false).dropLast() + ["weft-control"])
        .joined(separator: "/")
    let server = try Server(
        [
            program, "run", "--data-dir", folder, "--listen", "127.0.0.1:\(port)", "--advertise-address", "127.0.0.1",
            "--controllers", "false", "--scheduler", "false",
        ], folder: folder)
    defer { server.stop() }
    try await server.wait { Files.exists(folder + "/admin.kubeconfig") }
    let credentials = try ClientCredentials(kubeconfig: try Files.readText(folder + "/admin.kubeconfig"))
    let tls = try TLSContext(connecting: credentials.trust, identity: credentials.identity, protocols: ["http/1.1"])
    let endpoint = HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: true)
    let clients = (0..<writers).map { _ in HTTPClient(on: group.next, endpoint: endpoint, tls: tls) }
    let path = "/api/v1/namespaces/default/configmaps"
    let headers: HTTPHeaders = ["content-type": "application/json", "accept": "application/json"]

    table.add("weft-control: resident at rest", "MiB", server.resident)
    let before = server.processorTime
    let figures = try await load { writer, count in
        let answer = try await clients[writer].request(
            "POST", path, headers: headers, body: configMap("w\(writer)-\(count)"))
        guard answer.status == 201 else { throw BenchmarkError("create answered \(answer.status)") }
    }
    table.add("weft-control: creates over TLS, \(writers) writers, 1 KiB, synced", "/s", figures.rate)
    table.add("weft-control: create p50", "µs", percentile(figures.latencies, 0.5))
    table.add("weft-control: create p99", "µs", percentile(figures.latencies, 0.99))
    table.add(
        "weft-control: CPU a create", "µs", (server.processorTime - before) / Double(figures.latencies.count))
    table.add("weft-control: resident after the creates", "MiB", server.resident)

    let watcher = HTTPClient(on: group.next, endpoint: endpoint, tls: tls)
    let delays = try await watchDelays(clients[0], watcher, path, headers)
    table.add("weft-control: write to watch event p50", "µs", percentile(delays, 0.5))
    table.add("weft-control: write to watch event p99", "µs", percentile(delays, 0.99))
}

/// A ConfigMap of about a kibibyte.
private func configMap(_ name: String) -> [UInt8] {
    var body = #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":""# + name + #""},"data":{"payload":""#
    body += String(repeating: "x", count: valueBytes - body.utf8.count - 4)
    body += #""}}"#
    return Array(body.utf8)
}

/// From before a create is sent until its event is in the watcher's hands.
private func watchDelays(
    _ writer: HTTPClient, _ watcher: HTTPClient, _ path: String, _ headers: HTTPHeaders
) async throws -> [Double] {
    let list = try JSONValue.parse(try await writer.request("GET", path + "?limit=1", headers: headers).body)
    let revision = list["metadata"]?["resourceVersion"]?.string ?? ""
    let stream = try await watcher.stream(
        "GET", "\(path)?watch=1&resourceVersion=\(revision)", headers: ["accept": "application/json"])
    let clock = ContinuousClock()
    var delays: [Double] = []
    for count in 0..<500 {
        let name = "watched-\(count)"
        let needle = Array("\"name\":\"\(name)\"".utf8)
        let begin = clock.now
        async let answer = writer.request("POST", path, headers: headers, body: configMap(name))
        var seen: [UInt8] = []
        while !contains(seen, needle) {
            guard let part = try await stream.next() else { throw BenchmarkError("the watch ended") }
            seen += part
        }
        delays.append((clock.now - begin).microseconds)
        guard try await answer.status == 201 else { throw BenchmarkError("a create failed") }
    }
    return delays
}

private func contains(_ text: [UInt8], _ needle: [UInt8]) -> Bool {
    guard text.count >= needle.count else { return false }
    return (0...(text.count - needle.count)).contains { start in
        text[start] == needle[0] && text[start..<(start + needle.count)].elementsEqual(needle)
    }
}

/// etcd over TLS and HTTP/2, one connection a writer, as Kubernetes' API server uses it: gRPC Put.
func benchEtcd(_ group: EventLoopGroup, _ table: inout ResultTable) async throws {
    guard ["/usr/bin/etcd", "/usr/local/bin/etcd"].contains(where: { Files.exists($0) }) else {
        note("etcd is not installed (Debian: etcd-server); its rows are left out")
        return
    }
    let folder = try Server.makeFolder()
    let (port, peer) = (try Server.freePort(), try Server.freePort())
    let authority = try CertificateAuthority.create(commonName: "bench")
    let identity = try authority.issue(
        CertificateTemplate(
            subject: DistinguishedName(commonName: "etcd"), names: AlternativeNames(addresses: [.loopbackV4]),
            purpose: .server))
    try Files.writeAtomically(folder + "/tls.crt", identity.leaf.pem)
    try Files.writeAtomically(folder + "/tls.key", identity.key.pem, mode: 0o600)
    let server = try Server(
        [
            "etcd", "--data-dir", folder + "/data", "--listen-client-urls", "https://127.0.0.1:\(port)",
            "--advertise-client-urls", "https://127.0.0.1:\(port)", "--listen-peer-urls", "http://127.0.0.1:\(peer)",
            "--initial-advertise-peer-urls", "http://127.0.0.1:\(peer)", "--initial-cluster",
            "default=http://127.0.0.1:\(peer)", "--cert-file", folder + "/tls.crt", "--key-file", folder + "/tls.key",
            "--log-level", "error",
        ], folder: folder)
    defer { server.stop() }
    let tls = try TLSContext(connecting: TrustPool([authority.certificate]), protocols: ["h2"])
    let endpoint = HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: true)
    let clients = (0..<writers).map { _ in HTTPClient(on: group.next, endpoint: endpoint, tls: tls) }
    let headers: HTTPHeaders = ["content-type": "application/grpc", "te": "trailers"]
    let put = "/etcdserverpb.KV/Put"
    try await server.wait {
        let answer = try? await clients[0].request("POST", put, headers: headers, body: putRequest("ready"))
        return answer?.status == 200 && answer?.trailers["grpc-status"] == "0"
    }
    table.add("etcd 3.4: resident at rest", "MiB", server.resident)
    let before = server.processorTime
    let figures = try await load { writer, count in
        let answer = try await clients[writer].request(
            "POST", put, headers: headers, body: putRequest("/registry/bench/\(writer)/\(count)"))
        guard answer.status == 200, answer.trailers["grpc-status"] == "0" else {
            throw BenchmarkError("put answered \(answer.status)")
        }
    }
    table.add("etcd 3.4: puts over TLS, \(writers) writers, 1 KiB, synced", "/s", figures.rate)
    table.add("etcd 3.4: put p50", "µs", percentile(figures.latencies, 0.5))
    table.add("etcd 3.4: put p99", "µs", percentile(figures.latencies, 0.99))
    table.add("etcd 3.4: CPU a put", "µs", (server.processorTime - before) / Double(figures.latencies.count))
    table.add("etcd 3.4: resident after", "MiB", server.resident)
}

/// A gRPC message around PutRequest{key = 1, value = 2}.
private func putRequest(_ key: String) -> [UInt8] {
    var message: [UInt8] = []
    func field(_ number: UInt8, _ bytes: [UInt8]) {
        message.append(number << 3 | 2)
        var length = bytes.count
        while length >= 0x80 {
            message.append(UInt8(length & 0x7f) | 0x80)
            length >>= 7
        }
        message.append(UInt8(length))
        message += bytes
    }
    field(1, Array(key.utf8))
    field(2, [UInt8](repeating: 7, count: valueBytes))
    let length = UInt32(message.count)
    return [0, UInt8(length >> 24), UInt8(length >> 16 & 0xff), UInt8(length >> 8 & 0xff), UInt8(length & 0xff)]
        + message
}

/// The certificates inside a kubeconfig that weft-control wrote.
struct ClientCredentials {
    let trust: TrustPool
    let identity: TLSIdentity

    init(kubeconfig: String) throws {
        func field(_ name: String) throws -> String {
            for line in kubeconfig.split(separator: "\n") {
                let line = line.drop { $0 == " " }
                guard line.hasPrefix(name + ": ") else { continue }
                guard let bytes = Base64.decode(String(line.dropFirst(name.count + 2))) else { break }
                return String(decoding: bytes, as: UTF8.self)
            }
            throw BenchmarkError("kubeconfig without \(name)")
        }
        trust = try TrustPool(pem: try field("certificate-authority-data"))
        identity = try TLSIdentity(
            certificatePEM: try field("client-certificate-data"), keyPEM: try field("client-key-data"))
    }
}
