import Glibc
import Testing

@testable import Store

@Suite("the store when the disk fails")
struct FaultTests {
    private struct Outcome {
        var acknowledged: [StoredValue] = []
        /// Refused with the promise that nothing was written.
        var refused: [String] = []
        /// Refused without it.
        var unknown: [String] = []
        var opened = false
    }

    /// A fixed script of writes, some compaction among them; notes what each was answered.
    private func script(_ scratch: Scratch, vfs: String) async -> Outcome {
        var outcome = Outcome()
        var limits = SQLiteStore.Limits()
        limits.historyEvents = 10
        guard let store = try? SQLiteStore(path: scratch.file, limits: limits, vfs: vfs) else { return outcome }
        outcome.opened = true
        for n in 0..<25 {
            let key = "/k/\(n)"
            do {
                outcome.acknowledged.append(try await store.create(key, Array(repeating: UInt8(n), count: 700)))
            } catch StoreError.full {
                outcome.refused.append(key)
            } catch {
                outcome.unknown.append(key)
            }
            if let first = outcome.acknowledged.first { #expect((try? store.peek(first.key)) == first) }
        }
        store.close()
        return outcome
    }

    @Test(
        "a fault at any write or sync loses nothing acknowledged and keeps revisions whole",
        arguments: FaultyFileSystem.Fault.allCases)
    func everyFault(kind: FaultyFileSystem.Fault) async throws {
        let system = FaultyFileSystem()
        var call = 1
        while true {
            let scratch = Scratch()
            system.fail(at: call, kind)
            let outcome = await script(scratch, vfs: system.name)
            let fired = system.state.withLock { $0.fired }
            if kind == .powerLoss { try system.restorePower() }
            let store = try SQLiteStore(path: scratch.file)
            let found = try await store.range(prefix: "/k/").values
            let byKey = Dictionary(uniqueKeysWithValues: found.map { ($0.key, $0) })
            for value in outcome.acknowledged {
                #expect(byKey[value.key] == value, "\(kind) at call \(call): \(value.key) is lost")
            }
            for key in outcome.refused { #expect(byKey[key] == nil, "\(kind) at call \(call): \(key) was refused") }
            #expect(found.map(\.modified.rawValue).sorted() == Array(2..<(2 + Int64(found.count))))
            #expect(store.currentRevision.rawValue == 1 + Int64(found.count))
            if kind == .full, outcome.opened { #expect(outcome.refused.count <= 1 && outcome.unknown.isEmpty) }
            store.close()
            if !fired { break }
            call += 1
        }
        #expect(call > 20, "the script must meet enough faults to mean something")
    }

    @Test("a disk without space refuses writes clearly, serves reads, and takes writes again once there is space")
    func fullDisk() async throws {
        let mount = Scratch()
        guard Glibc.mount("tmpfs", mount.path, "tmpfs", 0, "size=1m") == 0 else {
            print("skipped: mounting a small tmpfs needs root")
            return
        }
        defer { umount2(mount.path, Int32(MNT_DETACH)) }
        let store = try SQLiteStore(path: mount.file)
        defer { store.close() }
        var acknowledged: [StoredValue] = []
        var refusal: StoreError?
        for n in 0..<4000 where refusal == nil {
            do {
                acknowledged.append(try await store.create("/k/\(n)", Array(repeating: 1, count: 1000)))
            } catch {
                refusal = error
            }
        }
        guard case .full(let text)? = refusal else {
            Issue.record("expected a full disk, got \(String(describing: refusal))")
            return
        }
        #expect(text.contains(mount.file) && text.contains("disk is full"))
        #expect(try await store.range(prefix: "/k/").values.count == acknowledged.count)
        #expect(Glibc.mount("tmpfs", mount.path, "tmpfs", UInt(MS_REMOUNT), "size=16m") == 0)
        acknowledged.append(try await store.create("/k/after", [1]))
        store.close()
        let again = try SQLiteStore(path: mount.file)
        #expect(Set(try await again.range(prefix: "/k/").values) == Set(acknowledged))
        again.close()
    }
}
