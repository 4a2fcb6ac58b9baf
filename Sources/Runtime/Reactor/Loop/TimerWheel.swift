/// Which timer: a slot and the generation that tells a late cancel from the slot's next user.
public struct TimerHandle: Hashable, Sendable {
    @usableFromInline var slot: UInt32
    @usableFromInline var generation: UInt32

    /// No timer; cancelling it does nothing.
    public static let none = TimerHandle(slot: .max, generation: .max)
}

/// A hierarchical timer wheel: set, move and cancel in constant time, whatever the number of timers.
///
/// Six levels of 64 slots; a tick is the caller's (a millisecond on loops). A timer stands on the level of the highest
/// digit (base 64) in which its expiry differs from now, and moves down when that digit is reached: at most six moves in
/// its life. Beyond 64⁶ ticks (two years of milliseconds) it waits on the top level and is put there again.
/// Pure: knows no clock.
struct TimerWheel {
    private struct Entry {
        var expiry: UInt64 = 0
        var body: (() -> Void)?
        var generation: UInt32 = 0
        /// Neighbours in the slot's list; for a free entry `next` is the next free one.
        var next: UInt32 = .max
        var previous: UInt32 = .max
        /// level · 64 + slot, or `unlinked`.
        var place: UInt16 = TimerWheel.unlinked
    }

    private static let levels = 6
    private static let unlinked: UInt16 = .max

    /// The tick up to which all timers have fired.
    private(set) var now: UInt64
    private(set) var count = 0
    private var entries: [Entry] = []
    private var free: UInt32 = .max
    /// Expired and not handed out yet, latest first.
    private var due: [TimerHandle] = []
    /// Scratch of `advance`, kept for its capacity.
    private var moved: [UInt32] = []
    private var heads = [UInt32](repeating: .max, count: levels * 64)
    private var occupied = [UInt64](repeating: 0, count: levels)

    init(now: UInt64) { self.now = now }

    /// Fires at `expiry`, or with the next tick when that has passed.
    mutating func insert(expiry: UInt64, _ body: @escaping () -> Void) -> TimerHandle {
        let slot: UInt32
        if free != .max {
            slot = free
            free = entries[Int(slot)].next
        } else {
            slot = UInt32(entries.count)
            entries.append(Entry())
        }
        entries[Int(slot)].expiry = max(expiry, now + 1)
        entries[Int(slot)].body = body
        count += 1
        link(slot)
        return TimerHandle(slot: slot, generation: entries[Int(slot)].generation)
    }

    /// False when it has fired or was cancelled before.
    @discardableResult
    mutating func cancel(_ handle: TimerHandle) -> Bool {
        guard Int(handle.slot) < entries.count, entries[Int(handle.slot)].generation == handle.generation,
            entries[Int(handle.slot)].body != nil
        else { return false }
        unlink(handle.slot)
        _ = release(handle.slot)
        return true
    }

    /// The first tick at which `advance` may have something to do, nil without timers. Never late; early when a timer
    /// only moves down a level then.
    var nextExpiry: UInt64? {
        for level in 0..<Self.levels where occupied[level] != 0 {
            let shift = UInt64(6 * level)
            let digit = now >> shift & 63
            // Digits behind now's can only be met after the level has turned, which the top level alone allows.
            let ahead = occupied[level] & ~(UInt64.max >> (63 - digit))
            let base = (now >> (shift + 6)) << (shift + 6)
            if ahead != 0 { return base + UInt64(ahead.trailingZeroBitCount) << shift }
            return base + 1 << (shift + 6) + UInt64(occupied[level].trailingZeroBitCount) << shift
        }
        return nil
    }

    /// Moves time on; what is due then is handed out by `nextDue`.
    mutating func advance(to tick: UInt64) {
        guard tick > now else { return }
        guard count > 0 else {
            now = tick
            return
        }
        let before = now
        for level in 0..<Self.levels where occupied[level] != 0 {
            let shift = UInt64(6 * level)
            let (from, to) = (before >> shift, tick >> shift)
            guard to > from else { break }
            let passed: UInt64
            if to - from >= 64 {
                passed = .max
            } else {
                let run = (UInt64(1) << (to - from)) &- 1
                let start = (from + 1) & 63
                passed = run << start | (start == 0 ? 0 : run >> (64 - start))
            }
            var slots = occupied[level] & passed
            occupied[level] &= ~passed
            while slots != 0 {
                let place = level * 64 + slots.trailingZeroBitCount
                slots &= slots &- 1
                var at = heads[place]
                heads[place] = .max
                while at != .max {
                    let next = entries[Int(at)].next
                    entries[Int(at)].place = Self.unlinked
                    moved.append(at)
                    at = next
                }
            }
        }
        now = tick
        for slot in moved {
            if entries[Int(slot)].expiry <= tick {
                due.append(TimerHandle(slot: slot, generation: entries[Int(slot)].generation))
            } else {
                link(slot)
            }
        }
        moved.removeAll(keepingCapacity: true)
        if due.count > 1 { due.sort { entries[Int($0.slot)].expiry > entries[Int($1.slot)].expiry } }
    }

    /// The next body that is due, in the order of expiry ticks; each is still cancelled by the ones before it.
    mutating func nextDue() -> (() -> Void)? {
        while let handle = due.popLast() {
            if entries[Int(handle.slot)].generation == handle.generation { return release(handle.slot) }
        }
        return nil
    }

    /// Drops all timers.
    mutating func removeAll() { self = TimerWheel(now: now) }

    private mutating func release(_ slot: UInt32) -> (() -> Void)? {
        let body = entries[Int(slot)].body
        entries[Int(slot)].body = nil
        entries[Int(slot)].generation &+= 1
        entries[Int(slot)].next = free
        free = slot
        count -= 1
        return body
    }

    private mutating func link(_ slot: UInt32) {
        let expiry = entries[Int(slot)].expiry
        let level = min((63 - (expiry ^ now).leadingZeroBitCount) / 6, Self.levels - 1)
        let place = level * 64 + Int(expiry >> UInt64(6 * level) & 63)
        let head = heads[place]
        entries[Int(slot)].place = UInt16(place)
        entries[Int(slot)].previous = .max
        entries[Int(slot)].next = head
        if head != .max { entries[Int(head)].previous = slot }
        heads[place] = slot
        occupied[level] |= 1 << UInt64(place & 63)
    }

    private mutating func unlink(_ slot: UInt32) {
        let (place, next, previous) = {
            ($0.place, $0.next, $0.previous)
        }(entries[Int(slot)])
        guard place != Self.unlinked else { return }
        if next != .max { entries[Int(next)].previous = previous }
        if previous != .max {
            entries[Int(previous)].next = next
        } else {
            heads[Int(place)] = next
            if next == .max { occupied[Int(place) / 64] &= ~(1 << UInt64(place & 63)) }
        }
        entries[Int(slot)].place = Self.unlinked
    }
}
