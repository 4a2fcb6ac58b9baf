import ClusterAPI
import ClusterClient
import Glibc
import HTTP
import JSON
import Reactor
import Telemetry

/// From the change of a Service's route to the first request that obeys it, with many proxies connected.
struct RouteChange {
    let options: Options
    /// Between two requests.
    private static let pause: Duration = .milliseconds(1)

    /// What requests were answered.
    private final class Traffic: @unchecked Sendable {
        // Proof for `@unchecked`: touched on one loop only.
        var version = ""
        /// When the first answer of this version came.
        var since = 0.0
        var requests = 0
        var failures = 0
        /// When the API's watchers were told of the change that is measured; what follows is its status. 0 before that.
        var announced = 0.0
    }

    private struct Times {
        var started: [Double] = []
        var answered: [Double] = []
        var announced: [Double] = []
        /// From its being sent, or kubectl's start, to the answer, or kubectl's end.
        var written: [Double] = []
        /// The same to the API's telling its watchers.
        var telling: [Double] = []
    }

    func run() async throws {
        let group = try EventLoopGroup(count: 1, name: "bench")
        let loop = group.all[0]
        let lab = try RouteLab(group)
        try await loop.perform {
            do {
                try await measure(lab)
                await lab.close()
            } catch {
                await lab.close()
                throw error
            }
        }
    }

    private func measure(_ lab: RouteLab) async throws {
        let loop = lab.loop
        let client = try await lab.startControl()
        try await MeshCluster.make(options, pods: options.proxies, with: client)
        let address = try await lab.makeCart(client)
        _ = try await lab.identity()
        let fleet =
            options.proxies > 1
            ? try await ProxyFleet(
                lab.way, count: options.proxies - 1, services: options.services,
                others: RouteLab.services.map { "\($0).\(MeshCluster.namespace).svc.cluster.local:80" }, on: loop) : nil
        try lab.startProxy(options.proxies - 1)
        let traffic = Traffic()
        let cart = HTTPClient(on: loop, endpoint: HTTPEndpoint(host: address, port: 80))
        _ = try await lab.wait("the sidecar answers") { try? await cart.request("GET", "/").isSuccess ? true : nil }
        note("the sidecar answers")
        let informer = Informer<KubeObject>(client, RouteLab.routes, log: Log.shared)
        informer.onEvent { event in
            if case .synced = event { return }
            loop.execute { if traffic.announced == 0 { traffic.announced = monotonic() } }
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask(executorPreference: loop) { await informer.run() }
            tasks.addTask(executorPreference: loop) { try await call(cart, traffic, loop) }
            defer { tasks.cancelAll() }
            let applied = try await rounds(lab, traffic, "kubectl apply") { version in
                try await kubectl(["--kubeconfig", lab.kubeconfig, "apply", "-f", lab.manifest(version)], loop)
            }
            var idle: [Double] = []
            for _ in 0..<options.rounds {
                let started = monotonic()
                try await kubectl(["version", "--client"], loop)
                idle.append((monotonic() - started) * 1e3)
            }
            let patched = try await rounds(lab, traffic, "PATCH") { version in
                _ = try await client.patch(
                    RouteLab.routes, RouteLab.route, .merge, ["spec": ["rules": RouteLab.rules(version)]])
            }
            report(applied, patched, idle, traffic)
        }
        await fleet?.end()
    }

    private func kubectl(_ arguments: [String], _ loop: EventLoop) async throws {
        let output = try await ChildProcess.run(.init([options.kubectl] + arguments), on: loop)
        guard output.status.isSuccess else { throw Failure("kubectl: \(output.errorText)") }
    }

    /// One request after the other.
    private func call(_ cart: HTTPClient, _ traffic: Traffic, _ loop: EventLoop) async throws {
        while !Task.isCancelled {
            let answer = try? await cart.request("GET", "/", timeout: .seconds(5))
            traffic.requests += 1
            if let answer, answer.isSuccess {
                if answer.text != traffic.version { (traffic.version, traffic.since) = (answer.text, monotonic()) }
            } else {
                traffic.failures += 1
            }
            try await loop.sleep(for: Self.pause)
        }
    }

    private func rounds(
        _ lab: RouteLab, _ traffic: Traffic, _ name: String, _ change: (_ version: String) async throws -> Void
    ) async throws -> Times {
        var times = Times()
        // One more, since the first finds everything cold.
        for round in 0...options.rounds {
            // Not in step with anything.
            try await lab.loop.sleep(for: .milliseconds(Int.random(in: 100...150)))
            let wanted = traffic.version == "v2" ? "v1" : "v2"
            traffic.announced = 0
            let started = monotonic()
            try await change(wanted)
            let answered = monotonic()
            _ = try await lab.wait("\(name) is obeyed") { traffic.version == wanted ? true : nil }
            guard round > 0 else { continue }
            times.started.append((traffic.since - started) * 1e3)
            times.answered.append((traffic.since - answered) * 1e3)
            times.announced.append((traffic.since - traffic.announced) * 1e3)
            times.written.append((answered - started) * 1e3)
            times.telling.append((traffic.announced - started) * 1e3)
        }
        note("\(name): \(options.rounds) changes")
        return times
    }

    private func report(_ applied: Times, _ patched: Times, _ idle: [Double], _ traffic: Traffic) {
        if !options.isJSON {
            say("\(options.proxies) proxies, \(options.services) Services; to the first request that obeys:")
        }
        for (name, times) in [
            ("from kubectl apply's start", applied.started),
            ("from the API's telling its watchers, by kubectl apply", applied.announced),
            ("from the PATCH's being sent", patched.started), ("from the PATCH's answer", patched.answered),
            ("not that, but kubectl apply's start to the API's telling its watchers", applied.telling),
            ("not that, but kubectl apply's whole life", applied.written),
            ("not that, but that of kubectl version --client, which calls nobody", idle),
            ("not that, but the PATCH's being sent to its answer", patched.written),
        ] {
            for (word, share) in [("p50", 0.5), ("p99", 0.99)] {
                Row("\(name), \(word)", times.quantile(share), "ms").show(isJSON: options.isJSON)
            }
        }
        Row("requests", Double(traffic.requests), "").show(isJSON: options.isJSON)
        Row("requests that failed", Double(traffic.failures), "").show(isJSON: options.isJSON)
    }
}
