import Bytes
import MeshIdentity
import Reactor
import TLS
import TestSupport
import Testing

@testable import MeshControl
@testable import MeshNode

/// Proxies whose certificates come from a node: the real Envoy, and ours.
@Suite("Proxies with certificates of the node's")
struct MeshProxyTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    /// A pod with its proxy.
    private static func run(
        _ maker: MeshProxy.Maker, _ form: MeshProxy.Form = .stateOfTheWorld, lifetime: Duration = .seconds(3600),
        isServed: Bool = true,
        _ body: @escaping @Sendable (MeshBench, MeshWorkloads, MeshNode.MeshPod, MeshProxy) async throws -> Void
    ) async throws {
        try await MeshBench.run(lifetime: lifetime, isServed: isServed) { bench in
            let node = try await bench.node()
            let pod = try await bench.pod("cart-1")
            try await node.start(pod, folder: bench.volume(pod))
            let following = Task { await node.run() }
            let proxy = try await MeshProxy(
                maker, pod, volume: bench.volume(pod), in: bench.folder.path, on: bench.loop, form: form)
            let outcome: Result<Void, any Error>
            do {
                try await body(bench, node, pod, proxy)
                outcome = .success(())
            } catch {
                Issue.record("the proxy's last words: \(proxy.log.suffix(2000))")
                outcome = .failure(error)
            }
            proxy.kill()
            following.cancel()
            await node.stop(pod.uid)
            await following.value
            try outcome.get()
        }
    }

    private static func status(_ node: MeshWorkloads) async throws -> WorkloadStatus {
        try #require(await node.status().first)
    }

    @Test(
        "certificates change under requests, and not one fails or changes its connection",
        arguments: MeshProxy.Maker.there, MeshProxy.Form.allCases)
    func rotation(maker: MeshProxy.Maker, form: MeshProxy.Form) async throws {
        try await Self.run(maker, form, lifetime: .seconds(6)) { bench, node, _, proxy in
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            let before = try await proxy.stat("cluster.self.upstream_cx_total")
            var serials: Set<String> = []
            var failures: [String] = []
            try await bench.eventually("five certificates") {
                if let serial = try await Self.status(node).serial { serials.insert(serial) }
                let answer = try await proxy.call()
                if answer != Self.cart { failures.append(answer) }
                return serials.count >= 5
            }
            #expect(failures.isEmpty, "\(failures)")
            #expect(try await proxy.stat("cluster.self.upstream_cx_total") == before)
            // What a new connection is shown is the newest.
            try await bench.eventually("the newest is shown") {
                let serial = try await Self.status(node).serial
                return try await serial == shown(bench, proxy)
            }
        }
    }

    /// The serial number of the certificate that the inbound listener shows.
    private func shown(_ bench: MeshBench, _ proxy: MeshProxy) async throws -> String {
        let output = try await ChildProcess.run(
            .init([
                "sh", "-c",
                "openssl s_client -connect 127.0.0.1:\(proxy.inbound) </dev/null 2>/dev/null | openssl x509 -noout -serial",
            ]), on: bench.loop)
        return String(output.text.drop { $0 != "=" }.dropFirst()).lowercased().filter { !$0.isWhitespace }
    }

    @Test("an authority that is away when a pod starts is waited for", arguments: MeshProxy.Maker.there)
    func authorityAway(maker: MeshProxy.Maker) async throws {
        try await Self.run(maker, isServed: false) { bench, node, _, proxy in
            try await bench.eventually("the failure is known") { try await Self.status(node).failure != nil }
            try await bench.eventually("it runs") { try await !proxy.admin("/server_info").isEmpty }
            #expect(try await proxy.call() != Self.cart)
            try await bench.startControl()
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            #expect(try await Self.status(node).failure == nil)
        }
    }

    @Test("a proxy that calls itself another pod's is told no configuration")
    func stranger() async throws {
        try await MeshBench.run { bench in
            let node = try await bench.node()
            let pod = try await bench.pod("cart-1")
            let other = try await bench.pod("web-1", account: "web")
            try await node.start(pod, folder: bench.volume(pod))
            let proxy = try await MeshProxy(
                .weft, other, volume: bench.volume(pod), in: bench.folder.path, on: bench.loop)
            defer { proxy.kill() }
            try await bench.eventually("it is refused") {
                proxy.log.contains(
                    "spiffe://cluster.local/ns/shop/sa/cart is not the proxy of pod shop/web-1: its service account is web"
                )
            }
            await node.stop(pod.uid)
        }
    }

    @Test(
        "a control plane that dies is not missed, and is taken up where it was left", arguments: MeshProxy.Maker.there,
        MeshProxy.Form.allCases)
    func controlDies(maker: MeshProxy.Maker, form: MeshProxy.Form) async throws {
        try await Self.run(maker, form) { bench, node, _, proxy in
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            try await bench.eventually("it is connected") { try await proxy.stat("control_plane.connected_state") == 1 }
            try await bench.eventually("it has its clusters") {
                try await proxy.stat("cluster_manager.cds.update_success") > 0
            }
            let updates = try await proxy.stat("cluster_manager.cds.update_success")
            await bench.stopControl()
            let plane = bench.plane
            try await bench.eventually("it is cut off") {
                try await bench.loop.perform { plane.server.status().isEmpty }
            }
            for _ in 0..<20 { #expect(try await proxy.call() == Self.cart) }
            try await bench.startControl()
            try await bench.eventually("it is back, and its state is known") {
                try await bench.loop.perform { plane.server.status() }.contains {
                    $0.node.id == "sidecar~cart-1.shop" && $0.accepted[.cluster] != nil && $0.behind.isEmpty
                }
            }
            // It said what it had, and was sent nothing of it again.
            #expect(try await proxy.stat("cluster_manager.cds.update_success") == updates)
            #expect(try await proxy.call() == Self.cart)
            // A proxy that dies leaves nothing behind.
            proxy.kill()
            try await bench.eventually("its streams are gone") {
                let streams = try await Self.status(node).streams
                let told = try await bench.loop.perform { plane.server.status().count }
                return streams == 0 && told == 0
            }
        }
    }

    @Test(
        "after another process took the node over, its proxies are served at the same place",
        arguments: MeshProxy.Maker.there)
    func nodeRestarts(maker: MeshProxy.Maker) async throws {
        try await MeshBench.run(lifetime: .seconds(6)) { bench in
            let pod = try await bench.pod("cart-1")
            let first = try await bench.node()
            try await first.start(pod, folder: bench.volume(pod))
            let proxy = try await MeshProxy(
                maker, pod, volume: bench.volume(pod), in: bench.folder.path, on: bench.loop)
            defer { proxy.kill() }
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            // The files of a killed process's sockets stay, and so do its records.
            let records = try Files.list("\(bench.folder.path)/n1-records").map { name in
                (name, try Files.readText("\(bench.folder.path)/n1-records/\(name)"))
            }
            await first.stop(pod.uid)
            for (name, text) in records {
                try Files.writeAtomically("\(bench.folder.path)/n1-records/\(name)", text)
            }
            for name in [MeshWorkloads.secretSocket, MeshWorkloads.configurationSocket] {
                try StaleSocket.leave("\(bench.volume(pod))/\(name)")
            }
            let second = try await bench.node()
            await second.recover()
            // The first's certificates are over by then; the proxy must have had new ones from the second.
            var serials: Set<String> = []
            var failures: [String] = []
            try await bench.eventually("four certificates") {
                if let serial = await second.status().first?.serial { serials.insert(serial) }
                let answer = try await proxy.call()
                if answer != Self.cart { failures.append(answer) }
                return serials.count >= 4
            }
            #expect(failures.isEmpty, "\(failures)")
            try await bench.eventually("the newest is shown") {
                let serial = await second.status().first?.serial
                return try await serial == shown(bench, proxy)
            }
            try await bench.eventually("it is connected") { try await proxy.stat("control_plane.connected_state") == 1 }
            await second.stop(pod.uid)
            #expect(!Files.exists("\(bench.volume(pod))/\(MeshWorkloads.secretSocket)"))
            #expect(try Files.list("\(bench.folder.path)/n1-records").isEmpty)
        }
    }

    @Test("another root: trusted, then used, then alone, and no request fails", arguments: MeshProxy.Maker.there)
    func rootRotation(maker: MeshProxy.Maker) async throws {
        try await Self.run(maker, lifetime: .seconds(6)) { bench, node, _, proxy in
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            let old = bench.authority.current.root
            _ = try LiveMeshAuthority.rotateRoot(
                in: bench.directory, trustDomain: "cluster.local", passphrase: bench.passphrase, settling: .seconds(2),
                overlap: .seconds(7))
            var failures: [String] = []
            try await bench.eventually("the old root is gone") {
                let answer = try await proxy.call()
                if answer != Self.cart { failures.append(answer) }
                let authority = bench.authority
                let roots = try await bench.loop.perform { authority.current.roots }
                return roots.count == 1 && roots[0] != old
            }
            #expect(failures.isEmpty, "\(failures)")
            try await bench.eventually("the newest is shown") {
                let serial = try await Self.status(node).serial
                return try await serial == shown(bench, proxy)
            }
            // Connections that stood are no proof; one that begins now is.
            let fresh = try await MeshProxy(
                maker, try #require(await node.status().first).pod,
                volume: bench.volume(try #require(await node.status().first).pod),
                in: bench.folder.path + "/fresh", on: bench.loop)
            defer { fresh.kill() }
            try await bench.eventually("it answers anew") { try await fresh.call() == Self.cart }
        }
    }

    @Test(
        "a connection that stands outlives its certificate and its root; none begins with either",
        arguments: MeshProxy.Maker.there)
    func standing(maker: MeshProxy.Maker) async throws {
        try await Self.run(maker, lifetime: .seconds(5)) { bench, node, pod, proxy in
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            let connections = try await proxy.stat("cluster.self.upstream_cx_total")
            await bench.stopControl()
            let known = try await Self.status(node)
            let end = try #require(known.notAfter)
            try await bench.eventually("the certificate is over") { Timestamp.now() > end }
            let fresh = try await MeshProxy(
                maker, pod, volume: bench.volume(pod), in: bench.folder.path + "/fresh", on: bench.loop)
            defer { fresh.kill() }
            try await bench.eventually("a connection that begins now is refused") {
                try await fresh.call().hasPrefix("503")
            }
            #expect(try await proxy.call() == Self.cart)
            #expect(try await proxy.stat("cluster.self.upstream_cx_total") == connections)
            // The authority is back, and another root takes the old one's place at once.
            try await bench.startControl()
            try await bench.eventually("it is well again") { try await fresh.call() == Self.cart }
            _ = try LiveMeshAuthority.rotateRoot(
                in: bench.directory, trustDomain: "cluster.local", passphrase: bench.passphrase, settling: .zero,
                overlap: .zero)
            try await bench.eventually("the newest is shown") {
                let serial = try await Self.status(node).serial
                let authority = bench.authority
                let roots = try await bench.loop.perform { authority.current.roots.count }
                guard roots == 1 else { return false }
                return try await serial == shown(bench, proxy)
            }
            #expect(try await proxy.call() == Self.cart)
            #expect(try await proxy.stat("cluster.self.upstream_cx_total") == connections)
        }
    }

    @Test(
        "a certificate of a root that is trusted no longer, and one that is out of date, are refused in words",
        arguments: MeshProxy.Maker.there)
    func refusals(maker: MeshProxy.Maker) async throws {
        try await Self.run(maker) { bench, node, _, proxy in
            try await bench.eventually("it answers") { try await proxy.call() == Self.cart }
            let identity = try #require(SPIFFEIdentity(Self.cart))
            func client(_ authority: MeshAuthority, lifetime: Int64, now: Timestamp = .now()) async throws -> String {
                let key = try PrivateKey.generate()
                let leaf = try authority.certify(key.publicKey, as: identity, lifetime: lifetime, now: now)
                let folder = bench.folder.path
                try Files.writeAtomically(
                    folder + "/client.pem", ([leaf] + authority.issuer.chain).map(\.pem).joined() + key.pem, mode: 0o600
                )
                let output = try await ChildProcess.run(
                    .init([
                        "curl", "-sk", "-m", "20", "--cert", folder + "/client.pem", "-o", "/dev/null", "-w",
                        "%{http_code}", "https://127.0.0.1:\(proxy.inbound)/",
                    ]),
                    on: bench.loop)
                return output.text
            }
            let authority = bench.authority
            let old = try await bench.loop.perform { authority.current }
            #expect(try await client(old, lifetime: 60) == "200")
            let stat = "listener.127.0.0.1_\(proxy.inbound).ssl.fail_verify_error"
            let refused = try await proxy.stat(stat)
            let past = Timestamp(seconds: Timestamp.now().seconds - 120)
            #expect(try await client(old, lifetime: 60, now: past) == "000")
            try await bench.eventually("it is counted") { try await proxy.stat(stat) == refused + 1 }
            // The key of the root got out: it ends now, and with it every certificate that it made.
            _ = try LiveMeshAuthority.rotateRoot(
                in: bench.directory, trustDomain: "cluster.local", passphrase: bench.passphrase, settling: .zero,
                overlap: .zero)
            try await bench.eventually("it is refused") { try await client(old, lifetime: 60) == "000" }
            let new = try await bench.loop.perform { authority.current }
            try await bench.eventually("the new one is taken") { try await client(new, lifetime: 60) == "200" }
            try await bench.eventually("the proxy has a new one itself") {
                let serial = try await Self.status(node).serial
                return try await serial == shown(bench, proxy)
            }
        }
    }
}
