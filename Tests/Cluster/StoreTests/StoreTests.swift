import Synchronization
import Testing

@testable import Store

@Suite("the store's semantics")
struct StoreTests {
    private func open(_ scratch: Scratch, _ limits: SQLiteStore.Limits = .init()) throws -> SQLiteStore {
        try SQLiteStore(path: scratch.file, limits: limits)
    }

    @Test("each write raises the revision by one and a refused write does not")
    func revisions() async throws {
        let scratch = Scratch()
        let store = try open(scratch)
        #expect(store.currentRevision == .first)
        let a = try await store.create("/a", [1])
        #expect(a.modified.rawValue == 2 && a.created == a.modified && a.version == 1)
        await #expect(throws: StoreError.exists(a)) { try await store.create("/a", [2]) }
        let b = try await store.update("/a", [2], expecting: a.modified)
        #expect(b.modified.rawValue == 3 && b.created == a.created && b.version == 2)
        await #expect(throws: StoreError.conflict(b)) { try await store.update("/a", [3], expecting: a.modified) }
        await #expect(throws: StoreError.conflict(b)) { try await store.delete("/a", expecting: a.modified) }
        await #expect(throws: StoreError.conflict(nil)) { try await store.delete("/none", expecting: nil) }
        await #expect(throws: StoreError.conflict(nil)) { try await store.update("/none", [], expecting: .first) }
        let gone = try await store.delete("/a", expecting: b.modified)
        #expect(gone.removed == b && gone.revision.rawValue == 4)
        #expect(try await store.get("/a") == nil)
        #expect(try await store.get("/a", at: b.modified) == b)
        let again = try await store.create("/a", [9])
        #expect(again.version == 1 && again.created.rawValue == 5)
    }

    @Test("pages of a range show one revision whatever is written between them")
    func pages() async throws {
        let scratch = Scratch()
        let store = try open(scratch)
        for n in 0..<10 { _ = try await store.create("/p/\(n)", [UInt8(n)]) }
        _ = try await store.create("/q/x", [])
        let first = try await store.range(prefix: "/p/", after: nil, limit: 4, at: nil)
        #expect(first.values.map(\.key) == ["/p/0", "/p/1", "/p/2", "/p/3"] && first.remaining == 6)
        _ = try await store.delete("/p/5", expecting: nil)
        _ = try await store.create("/p/41", [])
        let second = try await store.range(prefix: "/p/", after: "/p/3", limit: 4, at: first.revision)
        #expect(second.values.map(\.key) == ["/p/4", "/p/5", "/p/6", "/p/7"] && second.remaining == 2)
        let now = try await store.range(prefix: "/p/", after: "/p/3", limit: nil, at: nil)
        #expect(now.values.map(\.key) == ["/p/4", "/p/41", "/p/6", "/p/7", "/p/8", "/p/9"] && !now.more)
    }

    @Test("reads refuse what is compacted and what has not happened")
    func bounds() async throws {
        let scratch = Scratch()
        let store = try open(scratch)
        let a = try await store.create("/a", [1])
        let b = try await store.update("/a", [2], expecting: a.modified)
        _ = try await store.update("/a", [3], expecting: b.modified)
        try await store.compact(to: b.modified)
        await #expect(throws: StoreError.compacted(b.modified)) { try await store.get("/a", at: a.modified) }
        #expect(try await store.get("/a", at: b.modified)?.value == [2])
        await #expect(throws: StoreError.futureRevision(Revision(rawValue: 99), current: Revision(rawValue: 4))) {
            try await store.get("/a", at: Revision(rawValue: 99))
        }
        #expect(throws: StoreError.compacted(b.modified)) {
            _ = try store.watch(prefix: "/", after: a.modified) { _ in }
        }
        await #expect(throws: StoreError.compacted(b.modified)) { try await store.compact(to: b.modified) }
        await #expect(throws: StoreError.futureRevision(Revision(rawValue: 99), current: Revision(rawValue: 4))) {
            try await store.compact(to: Revision(rawValue: 99))
        }
    }

    @Test("a key or value beyond its bound is refused and nothing is written")
    func sizes() async throws {
        let scratch = Scratch()
        var limits = SQLiteStore.Limits()
        limits.valueBytes = 100
        limits.keyBytes = 10
        let store = try open(scratch, limits)
        _ = try await store.create("/0123456789".dropLast().description, Array(repeating: 1, count: 100))
        await #expect(throws: StoreError.tooLarge(bytes: 101, limit: 100)) {
            try await store.create("/b", Array(repeating: 1, count: 101))
        }
        await #expect(throws: StoreError.tooLarge(bytes: 11, limit: 10)) { try await store.create("/0123456789", []) }
        #expect(store.currentRevision.rawValue == 2)
    }

    @Test("everything is as it was after closing and opening, history included")
    func reopening() async throws {
        let scratch = Scratch()
        var store = try open(scratch)
        let a = try await store.create("/a", [1])
        let b = try await store.create("/b", [])
        _ = try await store.delete("/a", expecting: nil)
        let b2 = try await store.update("/b", [7], expecting: b.modified)
        store.close()
        await #expect(throws: StoreError.closed) { try await store.get("/a") }
        await #expect(throws: StoreError.closed) { try await store.create("/c", []) }
        store = try open(scratch)
        #expect(store.currentRevision == b2.modified)
        #expect(try await store.get("/a", at: a.modified) == a)
        #expect(try await store.get("/a") == nil)
        #expect(try await store.get("/b") == b2)
        let seen = Recorder()
        let watch = try store.watch(prefix: "/", after: .zero, deliver: seen.take)
        let events = try await seen.wait(for: 4)
        #expect(events.map(\.revision.rawValue) == [2, 3, 4, 5])
        #expect(events[2] == .delete(key: "/a", revision: Revision(rawValue: 4), previous: a))
        #expect(events[3] == .put(b2, previous: b))
        watch.cancel()
    }

    @Test("watchers get history and news once and in order, each only its prefix")
    func watching() async throws {
        let scratch = Scratch()
        let store = try open(scratch)
        let all = Recorder(), some = Recorder(), late = Recorder()
        let watches = [
            try store.watch(prefix: "/", after: .zero, deliver: all.take),
            try store.watch(prefix: "/x/", after: .zero, deliver: some.take),
            try store.watch(prefix: "/", after: Revision(rawValue: 150), deliver: late.take),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                group.addTask {
                    for n in 0..<50 {
                        _ = try await store.create(n % 2 == 0 ? "/x/\(writer)-\(n)" : "/y/\(writer)-\(n)", [])
                    }
                }
            }
            try await group.waitForAll()
        }
        let everything = try await all.wait(for: 200)
        #expect(everything.map(\.revision.rawValue) == Array(2...201))
        #expect(try await some.wait(for: 100) == everything.filter { $0.key.hasPrefix("/x/") })
        #expect(try await late.wait(for: 51).map(\.revision.rawValue) == Array(151...201))
        #expect(watches.allSatisfy { $0.progress.rawValue == 201 })
        watches[1].cancel()
        _ = try await store.create("/x/last", [])
        _ = try await all.wait(for: 201)
        #expect(some.count == 100)
    }

    @Test("history stays within its bounds and watchers at its edge are told")
    func historyBounds() async throws {
        let scratch = Scratch()
        var limits = SQLiteStore.Limits()
        limits.historyEvents = 100
        let store = try open(scratch, limits)
        var last = try await store.create("/k", [0])
        for n in 0..<400 { last = try await store.update("/k", [UInt8(n % 256)], expecting: last.modified) }
        let statistics = store.statistics
        #expect(statistics.historyEvents <= 100 && statistics.keys == 1)
        #expect(store.compactedRevision.rawValue == 302)
        #expect(throws: StoreError.compacted(store.compactedRevision)) {
            _ = try store.watch(prefix: "/", after: Revision(rawValue: store.compactedRevision.rawValue - 1)) { _ in }
        }
        limits.historyEvents = .max
        limits.historyBytes = 50_000
        store.close()
        let bytes = try open(scratch, limits)
        for _ in 0..<200 {
            last = try await bytes.update("/k", Array(repeating: 1, count: 1000), expecting: last.modified)
        }
        #expect(bytes.statistics.historyBytes <= 52_000)
    }

    @Test("a second process is refused while the first has the file")
    func locked() throws {
        let scratch = Scratch()
        let store = try open(scratch)
        let error = #expect(throws: StoreError.self) { _ = try SQLiteStore(path: scratch.file) }
        #expect("\(error!)".contains("another process has the file open"))
        store.close()
        try open(scratch).close()
    }

    @Test("a file that is not a store is refused and left alone", arguments: ["text", "foreign"])
    func foreign(kind: String) throws {
        let scratch = Scratch()
        if kind == "text" {
            try write(Array(repeating: UInt8(ascii: "x"), count: 8192), to: scratch.file)
        } else {
            let other = try SQLiteConnection(path: scratch.file)
            try other.execute("CREATE TABLE theirs (a)")
        }
        let before = try read(scratch.file)
        let error = #expect(throws: StoreError.self) { _ = try SQLiteStore(path: scratch.file) }
        #expect("\(error!)".contains(kind == "text" ? "not a store" : "another program's"))
        #expect(try read(scratch.file) == before)
    }

    @Test("a flipped bit anywhere is either harmless or refused, never a wrong value")
    func damage() async throws {
        let scratch = Scratch()
        var expected: [StoredValue] = []
        do {
            let store = try open(scratch)
            for n in 0..<60 {
                expected.append(try await store.create("/k/\(100 + n)", Array(repeating: UInt8(n), count: 300)))
            }
            store.close()
        }
        let good = try read(scratch.file)
        var generator = Seeded(seed: 7)
        var refused = 0
        for _ in 0..<150 {
            var bad = good
            let at = Int.random(in: 0..<bad.count, using: &generator)
            bad[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            try write(bad, to: scratch.file)
            do {
                let store = try open(scratch)
                #expect(try await store.range(prefix: "/k/").values == expected, "bit at \(at)")
                store.close()
            } catch let error as StoreError {
                guard case .unusable(let text) = error else { throw error }
                #expect(text.hasPrefix("store \(scratch.file): "))
                refused += 1
            }
        }
        #expect(refused > 50)
    }

    @Test(
        "any sequence of operations does what the model does, through restarts",
        arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func model(seed: UInt64) async throws {
        var generator = Seeded(seed: seed)
        let scratch = Scratch()
        var limits = SQLiteStore.Limits()
        limits.historyEvents = 80
        var store = try open(scratch, limits)
        var model = StoreModel()
        let keys = (0..<12).map { "/\($0 % 3)/\($0)" }
        for step in 0..<600 {
            let key = keys.randomElement(using: &generator)!
            let value = (0..<Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            let present = model.at(model.revision)[key]
            switch Int.random(in: 0..<100, using: &generator) {
            case 0..<30:
                if let present {
                    await #expect(throws: StoreError.exists(model.stored(present))) {
                        try await store.create(key, value)
                    }
                } else {
                    #expect(try await store.create(key, value) == model.put(key, value))
                }
            case 30..<60:
                let expected =
                    Bool.random(using: &generator)
                    ? present?.revision ?? 1 : Int64.random(in: 1...model.revision, using: &generator)
                if let present, present.revision == expected {
                    #expect(
                        try await store.update(key, value, expecting: Revision(rawValue: expected))
                            == model.put(key, value))
                } else {
                    await #expect(throws: StoreError.conflict(present.map(model.stored))) {
                        try await store.update(key, value, expecting: Revision(rawValue: expected))
                    }
                }
            case 60..<75:
                if let present {
                    #expect(try await store.delete(key, expecting: nil).removed == model.stored(present))
                    model.remove(key)
                } else {
                    await #expect(throws: StoreError.conflict(nil)) { try await store.delete(key, expecting: nil) }
                }
            case 75..<95:
                let prefix = ["/", "/0/", "/1/1", "/9"].randomElement(using: &generator)!
                let after = Bool.random(using: &generator) ? keys.randomElement(using: &generator) : nil
                let limit = Bool.random(using: &generator) ? Int.random(in: 0..<6, using: &generator) : nil
                let at = Int64.random(in: 1...model.revision, using: &generator)
                if at < store.compactedRevision.rawValue {
                    await #expect(throws: StoreError.compacted(store.compactedRevision)) {
                        try await store.range(prefix: prefix, after: after, limit: limit, at: Revision(rawValue: at))
                    }
                } else {
                    let got = try await store.range(
                        prefix: prefix, after: after, limit: limit, at: Revision(rawValue: at))
                    let want = model.range(prefix, after: after, limit: limit, at: at)
                    #expect(got.values == want.values && got.remaining == want.rest, "seed \(seed) step \(step)")
                }
                let now = try await store.range(prefix: prefix, after: after, limit: limit, at: nil)
                let want = model.range(prefix, after: after, limit: limit, at: model.revision)
                #expect(now.values == want.values && now.remaining == want.rest, "seed \(seed) step \(step)")
            case 95..<97:
                let target = Int64.random(in: 1...model.revision, using: &generator)
                if target > store.compactedRevision.rawValue { try await store.compact(to: Revision(rawValue: target)) }
            default:
                store.close()
                store = try open(scratch, limits)
            }
            #expect(store.currentRevision.rawValue == model.revision, "seed \(seed) step \(step)")
            #expect(store.statistics.historyEvents <= 80)
        }
        let compacted = store.compactedRevision
        let expected = model.events("/1/", after: compacted.rawValue)
        let seen = Recorder()
        let watch = try store.watch(prefix: "/1/", after: compacted, deliver: seen.take)
        #expect(try await seen.wait(for: expected.count) == expected, "seed \(seed)")
        watch.cancel()
    }
}

/// Collects what a watch delivers.
final class Recorder: Sendable {
    private let events = Mutex<[StoreEvent]>([])
    var count: Int { events.withLock { $0.count } }
    @Sendable func take(_ new: [StoreEvent]) { events.withLock { $0 += new } }

    struct Late: Error, CustomStringConvertible {
        var description: String
    }

    func wait(for count: Int) async throws -> [StoreEvent] {
        let deadline = ContinuousClock.now + .seconds(60)
        while self.count < count {
            if ContinuousClock.now > deadline { throw Late(description: "\(self.count) of \(count) events after 20 s") }
            try await Task.sleep(for: .milliseconds(1))
        }
        return events.withLock { $0 }
    }
}
