/// What a sticky slot class means: how many slots, and for how long a client keeps its endpoint. Each pair that is in use has
/// a chain; there are few, since hardly anybody changes the time-out.
struct StickyClass: Hashable, Sendable {
    /// The random class by which a client without an endpoint gets one.
    var slots: SlotClass
    var affinity: SessionAffinity
}

/// Which slot class stands for which pair: given out while a list uses it. A value, for one table.
struct StickyClasses: Sendable {
    private var users: [StickyClass: (slotClass: SlotClass, lists: Int)] = [:]
    private var taken: Set<UInt16> = []
    /// What the table of a former run has.
    private var adopted: [StickyClass: SlotClass] = [:]

    mutating func adopt(_ sticky: StickyClass, as slotClass: SlotClass) {
        guard users[sticky] == nil, taken.insert(slotClass.rawValue).inserted else { return }
        adopted[sticky] = slotClass
    }

    /// For one list more; nil when all are in use.
    mutating func retain(_ sticky: StickyClass) -> SlotClass? {
        if let known = users[sticky] {
            users[sticky]?.lists += 1
            return known.slotClass
        }
        let free = { [taken] in
            (SlotClass.firstSticky...SlotClass.lastSticky).first { !taken.contains($0) }.map(SlotClass.init(rawValue:))
        }
        guard let slotClass = adopted.removeValue(forKey: sticky) ?? free() else { return nil }
        taken.insert(slotClass.rawValue)
        users[sticky] = (slotClass, 1)
        return slotClass
    }

    /// For one list less; the class that nobody uses any more.
    mutating func release(_ sticky: StickyClass) -> SlotClass? {
        guard let known = users[sticky] else { return nil }
        users[sticky]?.lists -= 1
        guard known.lists == 1 else { return nil }
        users[sticky] = nil
        taken.remove(known.slotClass.rawValue)
        return known.slotClass
    }

    /// What a former run had, and nobody took over, is gone.
    mutating func settle() {
        for slotClass in adopted.values { taken.remove(slotClass.rawValue) }
        adopted = [:]
    }
}
