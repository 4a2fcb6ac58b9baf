import Bytes
import HTTP
import MeshIdentity
import Reactor
import TLS
import Telemetry
import TestSupport
import Testing

@testable import MeshNode

/// A pod's way to the control plane, with a peer at its end that reads when it is told to.
@Suite("Bytes handed through to the control plane")
struct StreamForwarderTests {
    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    @Test("a peer that does not read holds the proxy up, and gets every byte in the end; and back")
    func backPressure() async throws {
        try await Lab.run { lab in
            try await lab.use(Self.cart)
            let client = try await StreamConnection.connect(to: .unix(path: lab.socket), on: lab.loop)
            let all = 48 << 20
            let written = Tally()
            let writing = Task { [loop = lab.loop] in
                try await loop.perform {
                    let piece = [UInt8](repeating: 7, count: 64 << 10)
                    for _ in 0..<(all / piece.count) {
                        try await client.write(piece)
                        written.add(piece.count)
                    }
                    await client.shutdownWrite()
                }
            }
            // It stands still: what is on its way fills the kernel's buffers and two of ours, and no more.
            var last = -1
            try await lab.eventually("it stands still") {
                let now = written.count
                defer { last = now }
                return now > 0 && now == last
            }
            #expect(written.count < 24 << 20, "\(written.count)")
            #expect(lab.queued() <= 2 * (StreamForwarder.highWater + (128 << 10)), "\(lab.queued())")
            #expect(try #require(lab.peer).uri == Self.cart)
            try #require(lab.peer).resumeReading()
            try await writing.value
            try await lab.eventually("all of it came") { lab.peer?.received == all }
            // And back, to a proxy that reads slowly.
            let peer = try #require(lab.peer)
            [UInt8](repeating: 9, count: 16 << 20).withUnsafeBytes { peer.send($0) }
            var back = 0
            while back < 16 << 20 {
                let more = try await client.read(limit: 32 << 10)
                try #require(!more.isEmpty)
                #expect(lab.queued() <= 2 * (StreamForwarder.highWater + (128 << 10)), "\(lab.queued())")
                back += more.count
            }
            #expect(peer.hasEnded, "one side may end before the other")
            client.close()
            peer.closeAfterWrite()
            try await lab.eventually("both sides are gone") { lab.forwarder.count == 0 }
        }
    }

    @Test("a proxy that comes before its pod's certificate is held, and goes on with it")
    func early() async throws {
        try await Lab.run { lab in
            let client = try await StreamConnection.connect(to: .unix(path: lab.socket), on: lab.loop)
            try await client.write(Array("early".utf8))
            try await lab.eventually("it is there") { lab.forwarder.count == 1 }
            #expect(lab.peer == nil)
            try await lab.use(Self.cart)
            try await lab.eventually("it is handed through") {
                lab.peer?.resumeReading()
                return lab.peer?.received == 5
            }
            client.close()
        }
    }

    @Test("while the control plane is away its proxies are held, and go on when it is there; one that leaves is let go")
    func away() async throws {
        try await Lab.run(isServed: false) { lab in
            try await lab.use(Self.cart)
            let client = try await StreamConnection.connect(to: .unix(path: lab.socket), on: lab.loop)
            try await client.write(Array("early".utf8))
            let other = try await StreamConnection.connect(to: .unix(path: lab.socket), on: lab.loop)
            try await lab.eventually("both are there") { lab.forwarder.count == 2 }
            other.close()
            try await lab.eventually("one has left") { lab.forwarder.count == 1 }
            try lab.serve()
            try await lab.eventually("the other is handed through") {
                lab.peer?.resumeReading()
                return lab.peer?.received == 5
            }
            client.close()
            try await lab.eventually("its end is told") { lab.peer?.hasEnded ?? false }
        }
    }
}

/// Touched on the loop only.
private final class Tally: @unchecked Sendable {
    private(set) var count = 0
    func add(_ more: Int) { count += more }
}

/// The far end.
private final class Peer: Channel, @unchecked Sendable {
    private(set) var received = 0
    private(set) var hasEnded = false
    var uri: String? { tlsPeer?.chain.first?.alternativeNames.uris.first }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) { received += bytes.count }
    override func channelOpened() { pauseReading() }
    override func channelEnded() { hasEnded = true }
    override func channelClosed(_ error: (any Error)?) {}
}

/// Touched on its loop only.
private final class Lab: @unchecked Sendable {
    let loop: EventLoop
    let forwarder: StreamForwarder
    let socket: String
    private let folder: ScratchFolder
    private let mesh: CertificateAuthority
    private let context: TLSContext
    private let port: UInt16
    private var listener: Listener?
    private(set) var peer: Peer?

    static func run(isServed: Bool = true, _ body: @escaping @Sendable (Lab) async throws -> Void) async throws {
        let group = try EventLoopGroup(count: 1, name: "forward-test")
        let loop = group.all[0]
        let outcome: Result<Void, any Error>
        do {
            try await loop.perform {
                let lab = try Lab(loop, isServed: isServed)
                defer { lab.close() }
                try await body(lab)
            }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        await group.shutdown()
        try outcome.get()
    }

    private init(_ loop: EventLoop, isServed: Bool) throws {
        self.loop = loop
        folder = try ScratchFolder()
        mesh = try CertificateAuthority.create(commonName: "mesh")
        let cluster = try CertificateAuthority.create(commonName: "cluster")
        let serving = try cluster.issue(
            CertificateTemplate(
                subject: DistinguishedName(commonName: "control"),
                names: AlternativeNames(addresses: [.loopbackV4]), purpose: .server))
        context = try TLSContext(
            serving: [serving], clientCertificates: .required, trust: TrustPool([mesh.certificate]), protocols: ["h2"])
        port = try OwnAddress.freePort()
        socket = folder.path + "/xds.sock"
        forwarder = StreamForwarder(
            MeshNodeConfiguration(
                recordDirectory: folder.path, control: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: true),
                authorities: TrustPool([cluster.certificate]), identity: serving), loop: loop, streams: Gauge(),
            log: Log.shared)
        try forwarder.listen(socket)
        if isServed { try serve() }
    }

    /// The control plane is there.
    func serve() throws {
        listener = try Listener(.ip(.loopbackV4, Port(rawValue: port), scope: 0), on: loop) { [weak self] accepted in
            guard let self, let session = try? TLSSession(context) else { return }
            let peer = Peer(session)
            self.peer = peer
            peer.attach(accepted)
            peer.start()
        }
    }

    func use(_ name: String) async throws {
        try forwarder.use(
            mesh.issue(
                CertificateTemplate(
                    subject: DistinguishedName(commonName: ""), names: AlternativeNames(uris: [name]), purpose: .peer)))
    }

    func queued() -> Int { forwarder.queuedBytes }

    func close() {
        forwarder.close()
        listener?.close()
        peer?.reset()
    }

    func eventually(
        _ what: String, _ condition: () throws -> Bool, at place: SourceLocation = #_sourceLocation
    ) async throws {
        try await TestSupport.eventually(what, on: loop, condition, at: place)
    }
}
