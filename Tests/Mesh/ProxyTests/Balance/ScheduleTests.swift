import Bytes
import Testing

@testable import Proxy

@Suite("Weighted rotation")
struct ScheduleTests {
    @Test("each member has its share, and at any time is less than one turn away from it")
    func smooth() {
        var random = SplitMix64(seed: 3)
        let weights: [Double] = [1, 2, 3, 7, 20]
        var schedule = Schedule(weights.count, weight: { weights[$0] }, random: &random)
        var turns = Array(repeating: 0.0, count: weights.count)
        let total = weights.reduce(0, +)
        for picked in 1...3300 {
            let member = schedule.next
            schedule.advance(weight: weights[member])
            turns[member] += 1
            for i in weights.indices {
                // Everybody's phase is their own, so that two members may be off by a turn each in opposite ways.
                #expect(abs(turns[i] - Double(picked) * weights[i] / total) <= 2, "member \(i) after \(picked)")
            }
        }
    }

    @Test("a weight that changes counts from the member's next turn")
    func changing() {
        var random = SplitMix64(seed: 4)
        var schedule = Schedule(2, weight: { _ in 1 }, random: &random)
        var turns = [0, 0]
        for _ in 0..<900 {
            let member = schedule.next
            schedule.advance(weight: member == 0 ? 8 : 1)
            turns[member] += 1
        }
        #expect((798...802).contains(turns[0]))
    }

    @Test("members without weight have no turn, and nobody's schedule is empty")
    func weightless() {
        var random = SplitMix64(seed: 5)
        var schedule = Schedule(3, weight: { $0 == 1 ? 1 : 0 }, random: &random)
        for _ in 0..<10 {
            #expect(schedule.next == 1)
            schedule.advance(weight: 1)
        }
        let none = Schedule(2, weight: { _ in 0 }, random: &random)
        #expect(none.isEmpty)
    }

    @Test("time starts anew without a turn lost")
    func restart() {
        var random = SplitMix64(seed: 6)
        // Each turn takes a billion, so that time passes its bound every fifth.
        var schedule = Schedule(2, weight: { _ in 1e-9 }, random: &random)
        var turns = [0, 0]
        for _ in 0..<1000 {
            let member = schedule.next
            schedule.advance(weight: 1e-9)
            turns[member] += 1
            #expect(schedule.time < 1e10)
        }
        #expect(turns == [500, 500])
    }
}
