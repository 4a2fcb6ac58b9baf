/// The descriptors of a loop: slots in one block of memory, addressed by what epoll gives back, without a reference
/// count or a hash per event. Touched on the loop only.
final class Slab {
    struct Slot {
        var handler: Unmanaged<PollHandler>?
        var generation: UInt32 = 0
        var fd: CInt = -1
        var nextFree: UInt32 = .max
    }

    struct Entry {
        var handler: Unmanaged<PollHandler>
        var fd: CInt
        var data: UInt64
    }

    /// The data of the loop's own eventfd; no slot has it.
    static let wakeup = UInt64.max

    private var slots: UnsafeMutablePointer<Slot>
    private var capacity: Int
    private var used = 0
    private var free: UInt32 = .max

    init() {
        capacity = 64
        slots = .allocate(capacity: capacity)
    }

    deinit { slots.deallocate() }

    func insert(_ fd: CInt, _ handler: Unmanaged<PollHandler>) -> (Registration, data: UInt64) {
        let index: UInt32
        if free != .max {
            index = free
            free = slots[Int(index)].nextFree
            slots[Int(index)].handler = handler
            slots[Int(index)].fd = fd
        } else {
            if used == capacity { grow() }
            index = UInt32(used)
            (slots + used).initialize(to: Slot(handler: handler, fd: fd))
            used += 1
        }
        let generation = slots[Int(index)].generation
        return (Registration(slot: index, generation: generation), UInt64(generation) << 32 | UInt64(index))
    }

    @inline(__always)
    func handler(_ data: UInt64) -> Unmanaged<PollHandler>? {
        let index = Int(truncatingIfNeeded: data & 0xFFFF_FFFF)
        guard index < used, slots[index].generation == UInt32(truncatingIfNeeded: data >> 32) else { return nil }
        return slots[index].handler
    }

    func find(_ registration: Registration) -> Entry? {
        let index = Int(registration.slot)
        guard index < used, slots[index].generation == registration.generation, let handler = slots[index].handler
        else { return nil }
        return Entry(
            handler: handler, fd: slots[index].fd, data: UInt64(registration.generation) << 32 | UInt64(index))
    }

    func remove(_ registration: Registration) -> Entry? {
        guard let entry = find(registration) else { return nil }
        let index = Int(registration.slot)
        slots[index].handler = nil
        slots[index].fd = -1
        // The all-ones pair is the eventfd's; with 2³² users a slot starts over, long after their events are gone.
        slots[index].generation = slots[index].generation == .max - 1 ? 0 : slots[index].generation + 1
        slots[index].nextFree = free
        free = registration.slot
        return entry
    }

    func removeAll(_ body: (Unmanaged<PollHandler>) -> Void) {
        for index in 0..<used {
            guard let handler = slots[index].handler else { continue }
            _ = remove(Registration(slot: UInt32(index), generation: slots[index].generation))
            body(handler)
        }
    }

    private func grow() {
        let larger = UnsafeMutablePointer<Slot>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: slots, count: used)
        slots.deallocate()
        slots = larger
        capacity *= 2
    }
}
