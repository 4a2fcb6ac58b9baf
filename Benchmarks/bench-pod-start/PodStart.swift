import ClusterAPI
import ClusterClient
import JSON
import Reactor

/// Pods without and with a sidecar, one after the other, each measured alone.
struct PodStart {
    private let cluster: BenchCluster
    private let options: Options
    private static let namespace = "bench"

    init(_ cluster: BenchCluster, _ options: Options) {
        self.cluster = cluster
        self.options = options
    }

    func run() async throws {
        let client = try cluster.client()
        try await client.create(.namespaces, KubeObject(apiVersion: "v1", kind: "Namespace", name: Self.namespace))
        let pods = max(1, options.number("pods", 30))
        let informer = Informer<KubeObject>(client, .pods)
        let (events, sink) = AsyncStream.makeStream(of: InformerEvent<KubeObject>.self)
        informer.onEvent { sink.yield($0) }
        let following = cluster.loop.task { await informer.run() }
        await informer.waitForSync()
        var iterator = events.makeAsyncIterator()
        var (plain, meshed, difference): ([Double], [Double], [Double]) = ([], [], [])
        for index in -2..<pods {
            let bare = try await start("plain-\(index + 2)", isMeshed: false, client, &iterator)
            let full = try await start("meshed-\(index + 2)", isMeshed: true, client, &iterator)
            // The first ones read programs from disk.
            guard index >= 0 else { continue }
            plain.append(bare)
            meshed.append(full)
            difference.append(full - bare)
        }
        following.cancel()
        report(plain, meshed, difference)
    }

    /// Milliseconds from the request to the Ready condition; the pod is gone when this returns.
    private func start(
        _ name: String, isMeshed: Bool, _ client: KubeClient,
        _ events: inout AsyncStream<InformerEvent<KubeObject>>.Iterator
    ) async throws -> Double {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: Self.namespace, name: name)
        pod.labels = ["mesh.weft.dev/inject": isMeshed ? "true" : "false"]
        pod.json["spec"] = [
            "terminationGracePeriodSeconds": 0,
            "containers": [["name": "app", "image": "weft.local/host", "command": ["sleep", "3600"]]],
        ]
        let begin = MonotonicTime.now()
        try await client.create(.pods, pod)
        var took: Double?
        while let event = await events.next() {
            switch event {
            case .updated(let key, _, let pod) where key.name == name && took == nil:
                let ready = (pod.status["conditions"]?.array ?? []).first { $0["type"] == "Ready" }
                guard ready?["status"] == "True" else { continue }
                took = MonotonicTime.now().duration(since: begin) / .milliseconds(1)
                try await client.delete(.pods, pod.key, gracePeriodSeconds: 0)
            case .deleted(let key, _) where key.name == name:
                guard let took else { throw BenchCluster.Failure(description: "pod \(name) went without being ready") }
                return took
            default: break
            }
        }
        throw BenchCluster.Failure(description: "the watch ended")
    }

    private func report(_ plain: [Double], _ meshed: [Double], _ difference: [Double]) {
        let rows = [("without", plain), ("with sidecar", meshed), ("difference, pair by pair", difference)]
        if options.has("json") {
            for (name, samples) in rows {
                let row: JSONValue = [
                    "pod": .string(name), "p50_ms": .double(samples.quantile(0.5)),
                    "p90_ms": .double(samples.quantile(0.9)), "min_ms": .double(samples.quantile(0)),
                ]
                print(row.encodedString())
            }
            return
        }
        print("# \(plain.count) pods each, in turn; from create to Ready, as a watcher sees it")
        print("| pod | p50 ms | p90 ms | min ms |\n|---|---|---|---|")
        for (name, samples) in rows {
            print("| \(name) | \(samples.quantile(0.5)) | \(samples.quantile(0.9)) | \(samples.quantile(0)) |")
        }
    }
}

extension [Double] {
    /// To a tenth.
    func quantile(_ part: Double) -> Double {
        let sorted = sorted()
        guard let last = sorted.indices.last else { return 0 }
        return (sorted[Swift.min(last, Int(Double(count) * part))] * 10).rounded() / 10
    }
}
