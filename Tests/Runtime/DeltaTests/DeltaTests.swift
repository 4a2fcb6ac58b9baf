import Testing

@testable import Delta

/// Plain numbers from a seed, so that a failing history can be replayed.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}

@Suite("Desired minus actual")
struct DeltaTests {
    typealias Tracker = DeltaTracker<String, Int>

    @Test("what is wanted and missing is an addition until it is confirmed")
    func addition() {
        var tracker = Tracker()
        tracker.desire("a", 1)
        #expect(Array(tracker.changes) == [.add("a", 1)])
        for change in Array(tracker.changes) { tracker.confirm(change) }
        #expect(tracker.isSettled)
        #expect(tracker.actual("a") == 1)
    }

    @Test("a wanted value that changes is a replacement that names the old one")
    func replacement() {
        var tracker = Tracker()
        tracker.observe("a", 1)
        tracker.desire("a", 2)
        #expect(Array(tracker.changes) == [.replace("a", 1, with: 2)])
    }

    @Test("what comes back to what it was needs no change")
    func roundTrip() {
        var tracker = Tracker()
        tracker.observe("a", 1)
        tracker.desire("a", 1)
        tracker.desire("a", 2)
        tracker.desire("a", 1)
        #expect(tracker.isSettled)
    }

    @Test("adopting what another left: only the difference remains")
    func adoption() {
        var tracker = Tracker()
        for (key, value) in [("same", 1), ("new", 2), ("other", 3)] { tracker.desire(key, value) }
        tracker.observeAll([("same", 1), ("other", 4), ("stale", 5)])
        #expect(
            tracker.changes.sorted { $0.key < $1.key }
                == [.add("new", 2), .replace("other", 4, with: 3), .remove("stale", 5)])
    }

    @Test("what vanished from the world is to be added again")
    func vanished() {
        var tracker = Tracker()
        tracker.desire("a", 1)
        tracker.observe("a", 1)
        tracker.observeAll([])
        #expect(Array(tracker.changes) == [.add("a", 1)])
    }

    @Test("a random history: the changes lead from actual to desired, and counts agree", arguments: 0..<20)
    func history(seed: Int) {
        var random = Seeded(state: UInt64(seed))
        var tracker = DeltaTracker<Int, Int>()
        var desired: [Int: Int] = [:]
        var world: [Int: Int] = [:]
        for step in 0..<2000 {
            let key = Int.random(in: 0..<40, using: &random)
            let value = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                desired[key] = value
                tracker.desire(key, value)
            case 2:
                desired[key] = nil
                tracker.abandon(key)
            case 3:
                world[key] = value
                tracker.observe(key, value)
            case 4:
                world[key] = nil
                tracker.observe(key, nil)
            default:
                for change in Array(tracker.changes) where Bool.random(using: &random) {
                    switch change {
                    case .add(let key, let value):
                        #expect(world[key] == nil, "seed \(seed) step \(step)")
                        world[key] = value
                    case .replace(let key, let old, let value):
                        #expect(world[key] == old, "seed \(seed) step \(step)")
                        world[key] = value
                    case .remove(let key, let old):
                        #expect(world[key] == old, "seed \(seed) step \(step)")
                        world[key] = nil
                    }
                    tracker.confirm(change)
                }
            }
            #expect(tracker.desiredCount == desired.count)
            #expect(tracker.actualCount == world.count)
        }
        for change in Array(tracker.changes) { tracker.confirm(change) }
        #expect(tracker.isSettled)
        #expect(Dictionary(uniqueKeysWithValues: tracker.allActual.map { ($0.key, $0.value) }) == desired)
    }
}
