import Bytes
import Testing

@testable import Reactor

@Suite struct TimerWheelTests {
    @Test("timers fire at their tick, in order, whatever is set, moved and cancelled in between")
    func againstSortedList() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix64(seed: seed)
        var wheel = TimerWheel(now: UInt64.random(in: 0...1 << 40, using: &random))
        var expected: [Int: UInt64] = [:]
        var handles: [Int: TimerHandle] = [:]
        var fired: [Int] = []
        var name = 0
        for _ in 0..<20_000 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let span = UInt64(1) << UInt64.random(in: 0...38, using: &random)
                let expiry = wheel.now + UInt64.random(in: 0...span, using: &random)
                name += 1
                let this = name
                expected[this] = max(expiry, wheel.now + 1)
                handles[this] = wheel.insert(expiry: expiry) { fired.append(this) }
            case 5..<7:
                guard let victim = expected.keys.min() else { continue }
                expected[victim] = nil
                let (first, second) = (wheel.cancel(handles[victim] ?? .none), wheel.cancel(handles[victim] ?? .none))
                #expect(first && !second, "seed \(seed)")
            default:
                // To the next expiry exactly, one short of it, or a leap.
                let next = wheel.nextExpiry ?? wheel.now
                let first = expected.values.min()
                #expect(first == nil || next <= (first ?? 0), "a wake-up that comes late, seed \(seed)")
                let span = UInt64(1) << UInt64.random(in: 0...36, using: &random)
                let target =
                    Bool.random(using: &random) ? next : wheel.now + UInt64.random(in: 0...span, using: &random)
                wheel.advance(to: target)
                while let body = wheel.nextDue() { body() }
                let due = expected.filter { $0.value <= wheel.now }
                #expect(Set(fired) == Set(due.keys), "seed \(seed)")
                #expect(fired.map { due[$0] ?? 0 } == due.values.sorted(), "out of order, seed \(seed)")
                for name in due.keys { expected[name] = nil }
                fired = []
            }
        }
        #expect(wheel.count == expected.count)
    }

    @Test("a timer that is due can still be cancelled by one that fires before it")
    func cancelledWhileDue() {
        var wheel = TimerWheel(now: 0)
        var fired: [String] = []
        var second = TimerHandle.none
        _ = wheel.insert(expiry: 5) { fired.append("first") }
        second = wheel.insert(expiry: 6) { fired.append("second") }
        wheel.advance(to: 10)
        wheel.nextDue()?()
        wheel.cancel(second)
        wheel.nextDue()?()
        #expect(fired == ["first"])
        #expect(wheel.count == 0)
    }

    @Test("a timer two years and more away waits on the top level and still fires at its tick")
    func far() {
        var wheel = TimerWheel(now: 12345)
        let expiry: UInt64 = 12345 + (3 << 37)
        var fired = false
        _ = wheel.insert(expiry: expiry) { fired = true }
        while let next = wheel.nextExpiry, next < expiry {
            wheel.advance(to: next)
            let due = wheel.nextDue()
            #expect(due == nil)
        }
        wheel.advance(to: expiry - 1)
        let early = wheel.nextDue()
        #expect(early == nil)
        wheel.advance(to: expiry)
        wheel.nextDue()?()
        #expect(fired)
    }
}
