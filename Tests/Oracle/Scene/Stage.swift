import Bytes
import Glibc
import JSON
import Reactor

/// One side of a comparison: a proxy that runs a scene's config, the upstreams behind it, and a loop for all scripted peers.
final class Stage: @unchecked Sendable {
    let scene: Scene
    let loop: EventLoop
    private let group: EventLoopGroup
    private let folder: String
    private let proxy: ProxyProcess
    private let upstreams: [String: ScriptedUpstream]
    private let listeners: [(name: String, reservation: PortReservation)]
    /// Refuses, and never answers.
    private let refused: PortReservation
    private let silent: PortReservation
    private var silentQueue: [Wire]
    private let values: [(name: String, value: String)]
    private var logOffset = 0
    private var clientPorts: Set<UInt16> = []

    static func start(_ scene: Scene, _ program: ProxyProgram) async throws -> Stage {
        let group = try EventLoopGroup(count: 1, name: scene.name)
        do {
            return try await group.all[0].perform { try await Stage(scene, program, group) }
        } catch {
            await group.shutdown()
            throw error
        }
    }

    private init(_ scene: Scene, _ program: ProxyProgram, _ group: EventLoopGroup) async throws {
        self.scene = scene
        self.group = group
        loop = group.all[0]
        folder = "\(temporaryFolder)/weft-oracle-\(getpid())-\(scene.name)-\(program.name)"
        try Files.makeDirectories(folder)
        listeners = try scene.placeholders("in").map { ($0, try PortReservation()) }
        refused = try PortReservation()
        silent = try PortReservation(listens: true)
        var upstreams: [String: ScriptedUpstream] = [:]
        var values: [(name: String, value: String)] = listeners.map { ("in.\($0.name)", "\($0.reservation.port)") }
        for placeholder in scene.placeholders("up") {
            let words = placeholder.split(separator: ".")
            let name = String(words[0])
            let speech = words.count > 1 ? ScriptedUpstream.Speech(rawValue: String(words[1])) : .http
            guard let speech, upstreams[name] == nil else { throw RowError("no upstream can be ${up.\(placeholder)}") }
            let upstream = try ScriptedUpstream(name, speech, on: loop)
            upstreams[name] = upstream
            values.append(("up.\(placeholder)", "\(upstream.port)"))
        }
        self.upstreams = upstreams
        values += [
            ("refused", "\(refused.port)"), ("silent", "\(silent.port)"), ("dir", folder),
            ("log", "\(folder)/access.log"),
            ("certs", try await Certificates.folder(on: loop)), ("cases", "\(Scene.folder)/\(scene.name)"),
        ]
        self.values = values
        silentQueue = try (0..<3).map { [silent, loop] _ in try Wire(to: silent.port, on: loop) }
        do {
            proxy = try await ProxyProcess.start(
                program, config: Self.filled(scene.config, values), folder: folder,
                ports: listeners.map(\.reservation.port), on: loop)
        } catch {
            try? Files.removeTree(folder)
            throw error
        }
    }

    /// Takes everything away. What the proxy wrote last is in `proxyLog`.
    func stop() async {
        try? await loop.perform { [self] in
            await proxy.stop()
            for upstream in upstreams.values { upstream.stop() }
            for wire in silentQueue { wire.reset() }
        }
        await group.shutdown()
        try? Files.removeTree(folder)
    }

    /// How the proxy process ended, if it did, with its last words.
    var obituary: String? { proxy.obituary }

    // MARK: One row

    /// A row whose steps are done and whose end is still to be looked at. Used on the stage's loop.
    final class Performance: @unchecked Sendable {
        fileprivate let wire: Wire?
        fileprivate let notes: [String]
        /// What the client saw up to now.
        fileprivate let seen: () -> [String]

        fileprivate init(_ wire: Wire? = nil, notes: [String] = [], seen: @escaping () -> [String]) {
            self.wire = wire
            self.notes = notes
            self.seen = seen
        }
    }

    /// Plays the row up to its last step.
    func perform(_ row: Row) async throws -> Performance {
        try await loop.perform { [self] in
            for (name, upstream) in upstreams { upstream.begin(row.replies[name] ?? []) }
            for name in row.replies.keys where upstreams[name] == nil {
                throw RowError("row \"\(row.name)\": there is no upstream \(name)")
            }
            switch row.client {
            case .script(let steps): return try await play(steps, row, asHTTP: true)
            case .raw(let steps): return try await play(steps, row, asHTTP: false)
            case .http2(let steps): return try await play(steps, row)
            case .command(let command): return try await run(command)
            case .admin(let path, let method, let view):
                let lines = try await proxy.admin(method, path).lines(view)
                return Performance { lines }
            }
        }
    }

    /// How the client's connection stands.
    enum Standing: Sendable { case open, ending, ended }

    /// `ending`: still open, but an answer said `connection: close`.
    func standing(_ performance: Performance) async throws -> Standing {
        try await loop.perform {
            guard let wire = performance.wire, wire.end == nil, !wire.hasClosedItself else { return .ended }
            return performance.seen().contains("  connection: close") ? .ending : .open
        }
    }

    /// Ends the row: all that was seen, in the words that do not differ between runs.
    func finish(_ performance: Performance, _ row: Row) async throws -> [String] {
        try await loop.perform { [self] in
            var lines = (performance.seen() + performance.notes).map { "client   " + $0 }
            if let wire = performance.wire {
                // Whether an end is FIN or RST is a matter of what the kernel still had to read.
                if !wire.hasClosedItself { lines.append("client   connection \(wire.end == nil ? "open" : "closed")") }
                wire.close()
            }
            let log = await newLogLines(row)
            _ = await holds(within: .seconds(5), on: loop) { upstreams.values.allSatisfy(\.isSettled) }
            for (name, upstream) in upstreams.sorted(by: { $0.key < $1.key }) {
                lines += upstream.seen.map { "\(padded(name)) " + $0 }
            }
            lines += log.map { "log      " + $0 }
            return normaliser.apply(lines)
        }
    }

    private func newLogLines(_ row: Row) async -> [String] {
        guard scene.keepsLog else { return [] }
        var wanted = 1
        if case .admin = row.client { wanted = 0 }
        wanted = row.logLines ?? wanted
        var lines: [String] = []
        let came = await holds(within: .seconds(10), on: loop) {
            let bytes = (try? Files.read("\(folder)/access.log")) ?? []
            let text = String(decoding: bytes.dropFirst(logOffset), as: UTF8.self)
            lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
            return lines.count >= wanted && (text.isEmpty || text.hasSuffix("\n"))
        }
        logOffset += lines.reduce(0) { $0 + $1.utf8.count + 1 }
        return came ? lines : lines + ["(only \(lines.count) of \(wanted) lines came)"]
    }

    private func padded(_ name: String) -> String { name + String(repeating: " ", count: max(0, 8 - name.count)) }

    private var normaliser: Normaliser {
        var ports: [(UInt16, String)] = listeners.map { ($0.reservation.port, "in.\($0.name)") }
        ports += upstreams.map { ($0.value.port, "up.\($0.key)") }
        ports += [(refused.port, "refused"), (silent.port, "silent")]
        ports += upstreams.values.flatMap(\.peerPorts).map { ($0, "proxy") }
        ports += clientPorts.map { ($0, "client") }
        return Normaliser(ports: ports, texts: [(folder, "<dir>")])
    }

    // MARK: Statistics

    /// The named counters as they stand.
    func stats(_ names: [String]) async throws -> [String: Int] {
        try await loop.perform { [self] in
            let page = try await proxy.admin("GET", "/stats")
            var values: [String: Int] = [:]
            for line in String(decoding: page.body, as: UTF8.self).split(separator: "\n") {
                guard let colon = line.lastIndex(of: ":"), names.contains(String(line[..<colon])) else { continue }
                values[String(line[..<colon])] = Int(line[line.index(after: colon)...].dropFirst())
            }
            return values
        }
    }

    // MARK: Clients

    private func listenerPort(_ row: Row) throws -> UInt16 {
        guard let found = row.listener.isEmpty ? listeners.first : listeners.first(where: { $0.name == row.listener })
        else { throw RowError("row \"\(row.name)\": there is no listener \(row.listener)") }
        return found.reservation.port
    }

    private func play(_ steps: [ClientStep], _ row: Row, asHTTP: Bool) async throws -> Performance {
        let wire = try Wire(to: listenerPort(row), on: loop)
        clientPorts.insert(wire.localPort)
        var methods: [String] = []
        var awaited = 0
        var shown: [String] = []
        for step in steps {
            var met = true
            switch step {
            case .head(let text):
                let lines = filled(text).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
                let head = lines.reversed().drop { $0.isEmpty }.reversed().joined(separator: "\r\n") + "\r\n\r\n"
                methods.append(String(head.prefix { $0 != " " }))
                wire.send(Array(head.utf8))
            case .bytes(let bytes): wire.send(bytes)
            case .response(let method):
                awaited += 1
                if let method { methods.insert(method, at: min(awaited - 1, methods.count)) }
                let given = methods
                met = await holds(within: Self.patience, on: loop) {
                    Self.answers(wire, given).filter { $0.status >= 200 || $0.status == 101 }.count >= awaited
                        || wire.end != nil
                }
            case .until(let text):
                met = await holds(within: Self.patience, on: loop) {
                    String(decoding: wire.received, as: UTF8.self).contains(text) || wire.end != nil
                }
            case .upstream(let name, let count): met = try await upstreamHas(name, count)
            case .finish: wire.finish()
            case .reset: wire.reset()
            case .end: met = await holds(within: Self.patience, on: loop) { wire.end != nil }
            }
            if !met { shown.append("(waited in vain: \(step))") }
        }
        return Performance(wire, notes: shown) { [methods] in
            guard asHTTP else { return ["received \(printable(wire.received))"] }
            return Self.answers(wire, methods).flatMap(\.lines) + Self.rest(wire, methods)
        }
    }

    private func play(_ steps: [HTTP2Step], _ row: Row) async throws -> Performance {
        let wire = try Wire(to: listenerPort(row), on: loop)
        clientPorts.insert(wire.localPort)
        let receiver = HTTP2Receiver(isServer: false)
        wire.onChange = { wire in wire.send(receiver.receive(wire.received)) }
        wire.send(HTTP2Frame.preface + HTTP2Frame.settings())
        var shown: [String] = []
        for step in steps {
            var met = true
            func wait(_ condition: () -> Bool) async -> Bool {
                await holds(within: Self.patience, on: loop) { condition() || wire.end != nil }
            }
            switch step {
            case .headers(let fields, let stream, let end):
                wire.send(HTTP2Frame.headers(fields.map { ($0.0, filled($0.1)) }, stream: stream, endStream: end))
            case .data(let bytes, let stream, let end):
                wire.send(HTTP2Frame.data(bytes, stream: stream, endStream: end))
            case .bytes(let bytes): wire.send(bytes)
            case .response(let stream): met = await wait { receiver.streams[stream]?.isOver == true }
            case .body(let stream): met = await wait { receiver.streams[stream]?.body.isEmpty == false }
            case .ping:
                let before = receiver.pings
                wire.send(HTTP2Frame.bytes(HTTP2Frame.Kind.ping.rawValue, [1, 2, 3, 4, 5, 6, 7, 8]))
                met = await wait { receiver.pings > before }
            case .goAway: met = await wait { !receiver.goAwayCodes.isEmpty }
            case .upstream(let name, let count): met = try await upstreamHas(name, count)
            case .end: met = await wait { false }
            }
            if !met { shown.append("(waited in vain: \(step))") }
        }
        return Performance(wire, notes: shown) {
            receiver.streams.sorted { $0.key < $1.key }.flatMap { ["stream \($0.key)"] + $0.value.lines }
                + receiver.goAwayCodes.map { "GOAWAY \($0)" }
        }
    }

    private func run(_ command: String) async throws -> Performance {
        let output = try await ChildProcess.run(.init(["sh", "-c", filled(command)]), on: loop, timeout: .seconds(60))
        let text = output.text.split(separator: "\n", omittingEmptySubsequences: true)
        let lines = text.map { $0.last == "\r" ? String($0.dropLast()) : String($0) }
        return Performance { ["exit \(output.status.code)"] + lines }
    }

    private func upstreamHas(_ name: String, _ count: Int) async throws -> Bool {
        guard let upstream = upstreams[name] else { throw RowError("there is no upstream \(name)") }
        return await holds(within: Self.patience, on: loop) { upstream.requests >= count }
    }

    private func filled(_ text: String) -> String { Self.filled(text, values) }

    private static func filled(_ text: String, _ values: [(name: String, value: String)]) -> String {
        guard text.contains("${") else { return text }
        return values.reduce(text) { $0.replacing("${\($1.name)}", with: $1.value) }
    }

    /// How long a row waits for what should come; longer than any time-out that a scene configures.
    private static let patience = Duration.seconds(10)

    private static func answers(_ wire: Wire, _ methods: [String]) -> [HTTP1Message] {
        read(wire, methods).answers
    }

    private static func rest(_ wire: Wire, _ methods: [String]) -> [String] {
        let rest = wire.received[read(wire, methods).offset...]
        return rest.isEmpty ? [] : ["rest \(printable(rest))"]
    }

    private static func read(_ wire: Wire, _ methods: [String]) -> (answers: [HTTP1Message], offset: Int) {
        var reader = HTTP1Reader()
        var answers: [HTTP1Message] = []
        var turn = 0
        while reader.offset < wire.received.count {
            let method = turn < methods.count ? methods[turn] : "GET"
            guard let next = reader.next(.response(method: method), in: wire.received, hasEnded: wire.end != nil)
            else { break }
            answers.append(next)
            if next.status == 101 || (method == "CONNECT" && next.status == 200) { break }
            if next.status >= 200 { turn += 1 }
        }
        return (answers, reader.offset)
    }
}
