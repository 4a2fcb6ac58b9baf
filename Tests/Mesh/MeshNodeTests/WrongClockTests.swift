import Glibc
import Reactor
import Synchronization
import TLS
import Telemetry
import TestSupport
import Testing

@testable import MeshNode

/// weft-control with a clock that is set while it runs (libfaketime), and a node whose clock is right.
@Suite(
    "A control plane with a wrong clock",
    .enabled(if: MeshProxy.Maker.weft.program != nil && ClockedControl.library != nil, "programs and faketime"))
struct WrongClockTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    /// What the node told of its pods.
    private final class Heard: Sendable {
        let news = Mutex<[WorkloadNews]>([])

        func contains(_ fits: (WorkloadNews) -> Bool) -> Bool { news.withLock { $0.contains(where: fits) } }
    }

    @Test(
        "two days ahead or behind: what each clock shows is said, the certificate in hand is used, and with the right time there is a new one",
        arguments: [
            ("+2d", "this node's clock and the control plane's disagree"), ("-2d", "look at this machine's clock"),
        ])
    func wrong(offset: String, words: String) async throws {
        let group = try EventLoopGroup(count: 1, name: "clock-test")
        let loop = group.all[0]
        let outcome: Result<Void, any Error>
        do {
            try await loop.perform { try await Self.play(group, offset, words) }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        await group.shutdown()
        try outcome.get()
    }

    private static func play(_ group: EventLoopGroup, _ offset: String, _ words: String) async throws {
        let loop = group.all[0]
        let control = try await ClockedControl(on: loop)
        defer { control.process.kill() }
        let client = try await control.process.client()
        let pod = try await ControlProcessTests.prepare(client)
        let nodeGroup = try EventLoopGroup(count: 1, name: "node")
        let heard = Heard()
        let folder = control.process.folder.path
        let node = try MeshWorkloads(
            MeshNodeConfiguration(
                try await control.process.nodeConfig("n1"), address: "127.0.0.1:\(control.process.meshPort)",
                recordDirectory: folder + "/records"), on: nodeGroup, metrics: MetricsRegistry(), log: Log.shared
        ) { _, news in heard.news.withLock { $0.append(news) } }
        try await node.start(pod, folder: folder + "/volume")
        let following = Task { await node.run() }
        let proxy = try await MeshProxy(.weft, pod, volume: folder + "/volume", in: folder, on: loop)
        defer { proxy.kill() }
        try await eventually("it answers", on: loop) { try await proxy.call() == cart }

        try control.set(offset)
        try await eventually("the disagreement is known", on: loop) {
            await node.status().first?.failure?.contains(words) ?? false
        }
        #expect(await node.status().first?.serial != nil)
        // Certificates live for ten seconds here: the one in hand ends, and whoever looks at the pod is told.
        try await eventually("its end is told", on: loop) {
            heard.contains { if case .expired(let why) = $0 { why.contains(words) } else { false } }
        }
        try control.set("+0")
        try await eventually("it is well again", on: loop) {
            let isTold = heard.contains { $0 == .served }
            let isWell = await node.status().first.map { $0.failure == nil } ?? false
            return isTold && isWell
        }
        try await eventually("it answers again", on: loop) { try await proxy.call() == cart }
        await node.stop(pod.uid)
        following.cancel()
        await following.value
        await nodeGroup.shutdown()
    }
}

/// A `weft-control` whose clock is what a file says.
private final class ClockedControl: Sendable {
    static let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map { $0 + "/faketime/libfaketimeMT.so.1" }.first { access($0, R_OK) == 0 }

    let process: ControlProcess
    private var file: String { process.folder.path + "/clock" }

    init(on loop: EventLoop) async throws {
        let library = try #require(Self.library)
        process = try await ControlProcess(on: loop) { folder in
            try Files.writeAtomically(folder + "/clock", "+0\n")
            return [
                "env", "LD_PRELOAD=\(library)", "FAKETIME_TIMESTAMP_FILE=\(folder)/clock", "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                // The library adds to the environment of the first process, beside which Swift looks for its arguments.
                "sh", "-c", #"exec "$0" "$@""#,
            ]
        }
    }

    /// - Parameter offset: From the right time, as faketime reads it: `+2d`.
    func set(_ offset: String) throws { try Files.writeAtomically(file, offset + "\n") }
}
