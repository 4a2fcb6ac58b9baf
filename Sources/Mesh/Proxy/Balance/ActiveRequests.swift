/// How many requests of this worker each host has, by the hosts' names: a snapshot may come and go while they last.
struct ActiveRequests {
    private struct Entry {
        var generation: UInt32 = 0
        var count: UInt32 = 0
    }

    private var entries: [Entry] = []
    /// All of them, also of hosts that are gone.
    private(set) var total = 0

    mutating func makeRoom(for slots: Int) {
        if entries.count < slots { entries += Array(repeating: Entry(), count: slots - entries.count) }
    }

    @inline(__always)
    subscript(id: HostID) -> UInt32 {
        let entry = entries[Int(id.slot)]
        return entry.generation == id.generation ? entry.count : 0
    }

    @inline(__always)
    mutating func begin(_ id: HostID) {
        total &+= 1
        if entries[Int(id.slot)].generation == id.generation {
            entries[Int(id.slot)].count &+= 1
        } else if entries[Int(id.slot)].generation < id.generation {
            entries[Int(id.slot)] = Entry(generation: id.generation, count: 1)
        }
    }

    /// For a host that is gone only the total goes down.
    @inline(__always)
    mutating func end(_ id: HostID) {
        total &-= 1
        guard entries[Int(id.slot)].generation == id.generation, entries[Int(id.slot)].count > 0 else { return }
        entries[Int(id.slot)].count &-= 1
    }
}
