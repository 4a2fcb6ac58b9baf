import Glibc
import Synchronization
import Testing

@testable import Store

/// The directory that a killed child writes in; the suite runs itself again as that child.
private let crashDirectory = getenv("WEFT_STORE_CRASH").map { String(cString: $0) }

@Suite("the store when its process is killed", .serialized)
struct CrashTests {
    /// Not a test of its own: the process that `killedAtRandom` kills.
    @Test("crash child writes until killed", .enabled(if: crashDirectory != nil))
    func crashChild() async throws {
        guard let crashDirectory else { return }
        var limits = SQLiteStore.Limits()
        limits.historyEvents = 500
        let store = try SQLiteStore(path: crashDirectory + "/store.db", limits: limits)
        let log = open(crashDirectory + "/acknowledged", O_WRONLY | O_APPEND | O_CREAT, 0o600)
        @Sendable func acknowledge(_ line: String) { _ = line.withCString { Glibc.write(log, $0, strlen($0)) } }
        let base = store.currentRevision
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask {
                    for n in 0..<1_000_000 {
                        let key = "/\(writer)/\(base)-\(n)"
                        guard let made = try? await store.create(key, Array("\(key) first".utf8)) else { return }
                        acknowledge("put \(key) \(made.modified)\n")
                        if n % 3 == 0 {
                            guard
                                let more = try? await store.update(
                                    key, Array("\(key) then".utf8), expecting: made.modified)
                            else { return }
                            acknowledge("put \(key) \(more.modified)\n")
                        } else if n % 3 == 1 {
                            guard let gone = try? await store.delete(key, expecting: made.modified) else { return }
                            acknowledge("del \(key) \(gone.revision)\n")
                        }
                    }
                }
            }
        }
    }

    @Test("kill -9 at random moments loses no acknowledged write and the revision never goes back")
    func killedAtRandom() async throws {
        let scratch = Scratch()
        var generator = SystemRandomNumberGenerator()
        var newest: Int64 = 1
        for round in 0..<12 {
            let child = try spawnSelf(filter: "crashChild", environment: ["WEFT_STORE_CRASH=\(scratch.path)"])
            // From when it writes, a random while: at first during opening, later amid commits and checkpoints.
            let begun = (try? read(scratch.path + "/acknowledged").count) ?? 0
            let deadline = ContinuousClock.now + .seconds(60)
            while round % 4 != 3, ((try? read(scratch.path + "/acknowledged").count) ?? 0) == begun,
                ContinuousClock.now < deadline
            {
                try await Task.sleep(for: .milliseconds(2))
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 1...150, using: &generator)))
            kill(child, SIGKILL)
            var status: Int32 = 0
            waitpid(child, &status, 0)
            newest = try await verify(scratch, newest)
        }
        #expect(newest > 1000, "the children wrote too little to prove anything: revision \(newest)")
    }

    /// Checks the file against the acknowledgements; returns the revision reached.
    private func verify(_ scratch: Scratch, _ newest: Int64) async throws -> Int64 {
        let store = try SQLiteStore(path: scratch.file)
        defer { store.close() }
        var last: [Substring: (revision: Int64, removed: Bool)] = [:]
        var highest: Int64 = 0
        for line in String(decoding: (try? read(scratch.path + "/acknowledged")) ?? [], as: UTF8.self).split(
            separator: "\n")
        {
            let words = line.split(separator: " ")
            guard words.count == 3, let revision = Int64(words[2]) else { continue }
            last[words[1]] = (revision, words[0] == "del")
            highest = max(highest, revision)
        }
        let now = store.currentRevision.rawValue
        #expect(now >= highest && now >= newest)
        let found = Dictionary(
            uniqueKeysWithValues: try await store.range(prefix: "/").values.map { ($0.key, $0.modified.rawValue) })
        for (key, acknowledged) in last {
            let there = found[String(key)]
            // A later write of the key may have happened without its acknowledgement being noted.
            if acknowledged.removed {
                #expect(there == nil || there! > acknowledged.revision, "\(key) is back")
            } else {
                let removedLater =
                    there == nil && key.split(separator: "-").last.flatMap { Int($0) }.map { $0 % 3 == 1 } == true
                #expect(removedLater || there.map { $0 >= acknowledged.revision } == true, "\(key) is lost")
            }
        }
        let seen = Recorder()
        let compacted = store.compactedRevision
        let watch = try store.watch(prefix: "/", after: compacted, deliver: seen.take)
        let events = try await seen.wait(for: Int(now - max(compacted.rawValue, 1)))
        #expect(events.map(\.revision.rawValue) == Array((max(compacted.rawValue, 1) + 1)..<(now + 1)))
        watch.cancel()
        return now
    }
}

/// Starts this test program again with one test selected.
func spawnSelf(filter: String, environment: [String]) throws -> pid_t {
    var path = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &path, path.count - 1)
    guard length > 0 else { throw FileError(text: "readlink: \(errno)") }
    let arguments = [
        String(decoding: path[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self), "--testing-library",
        "swift-testing", "--filter", filter,
    ]
    var inherited: [String] = []
    var entry = environ
    while let variable = entry.pointee {
        inherited.append(String(cString: variable))
        entry += 1
    }
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = (environment + inherited).map { strdup($0) } + [nil]
    defer { for text in argv + envp { free(text) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var child: pid_t = 0
    let status = posix_spawn(&child, path, &actions, nil, &argv, &envp)
    guard status == 0 else { throw FileError(text: "spawn: \(status)") }
    return child
}
