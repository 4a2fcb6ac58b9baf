/// Numbers of endpoint lists: given out once until they are released. 0 is none.
struct ListIdentifiers: Sendable {
    private var taken: Set<UInt32> = []
    private var reserved: Set<UInt32> = []
    private var next: UInt32 = 1

    func isTaken(_ id: UInt32) -> Bool { taken.contains(id) }

    /// It is in use, here or by what an adopted table still holds.
    mutating func reserve(_ id: UInt32) { if id != 0 { reserved.insert(id) } }

    mutating func hold(_ id: UInt32) {
        taken.insert(id)
        reserved.insert(id)
    }

    /// What an adopted table still held, and nobody took over, is gone.
    mutating func settle() { reserved = taken }

    /// nil when all are in use.
    mutating func take() -> UInt32? {
        guard reserved.count < Dispatch.maximumLists - 1 else { return nil }
        while reserved.contains(next) { advance() }
        defer { advance() }
        hold(next)
        return next
    }

    private mutating func advance() { next = next < UInt32(Dispatch.maximumLists) ? next + 1 : 1 }

    mutating func release(_ id: UInt32) {
        taken.remove(id)
        reserved.remove(id)
    }
}
