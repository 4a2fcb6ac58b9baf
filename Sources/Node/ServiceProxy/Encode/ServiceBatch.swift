import Netlink

extension ServiceElementCodec {
    /// The element operations that carry out `changes`: removals first, then additions, set by set, so that each set's fit
    /// into few messages. A changed value is a removal and an addition; in one batch no packet sees the gap.
    ///
    /// The chains of sticky classes are there before anything leads to them, and go after it.
    func append(_ changes: ServiceElements.Changes, in shape: ServiceTable, to batch: inout NFBatch) {
        let table = shape.name
        var writer = ElementWriter(codec: self)
        let classes = changes.singles.filter { if case .stickyClass = $0.key { true } else { false } }
        for change in classes {
            switch change {
            case .add: break
            case .remove(.stickyClass(let slotClass), .sticky(let sticky)),
                .replace(.stickyClass(let slotClass), .sticky(let sticky), _):
                batch.element(.delete, shape.element(sticky, as: slotClass), in: shape.classes.id)
                batch.delete(shape.chain(sticky).id)
            default: break
            }
        }
        for change in classes {
            switch change {
            case .add(.stickyClass(let slotClass), .sticky(let sticky)),
                .replace(.stickyClass(let slotClass), _, .sticky(let sticky)):
                batch.add(shape.chain(sticky))
                for rule in shape.rules(sticky) { batch.append(rule) }
                batch.element(.add, shape.element(sticky, as: slotClass), in: shape.classes.id)
            default: break
            }
        }
        for set in ServiceSet.allCases {
            let name = set.name(in: table)
            for change in changes.singles where Self.set(of: change.key) == set {
                switch change {
                case .add: break
                case .remove(let key, _), .replace(let key, _, _): writer.remove(key, from: name, in: &batch)
                }
            }
            if set == .endpoints {
                for change in changes.lists {
                    change.forEachSlot { slot, old, new in
                        guard old != .none, old != new else { return }
                        writer.remove(.endpoint(list: change.key, slot: slot), from: name, in: &batch)
                    }
                }
            }
        }
        for set in ServiceSet.allCases {
            let name = set.name(in: table)
            for change in changes.singles where Self.set(of: change.key) == set {
                switch change {
                case .remove: break
                case .add(let key, let value), .replace(let key, _, let value):
                    writer.add(key, value, to: name, in: &batch)
                }
            }
            if set == .endpoints {
                for change in changes.lists {
                    change.forEachSlot { slot, old, new in
                        guard new != .none, old != new else { return }
                        writer.add(
                            .endpoint(list: change.key, slot: slot), .endpoint(new.address, new.port), to: name,
                            in: &batch)
                    }
                }
            }
        }
    }
}

/// Writes elements through two buffers that are used again and again.
private struct ElementWriter {
    let codec: ServiceElementCodec
    private var key: [UInt8] = []
    private var data: [UInt8] = []

    init(codec: ServiceElementCodec) { self.codec = codec }

    mutating func remove(_ element: ServiceElementKey, from set: NFSetName, in batch: inout NFBatch) {
        if codec.isRange(element) {
            for part in codec.elements(element, .present) { batch.element(.delete, part, in: set) }
            return
        }
        key.removeAll(keepingCapacity: true)
        codec.encode(element, into: &key)
        key.withUnsafeBytes { batch.element(.delete, key: $0, in: set) }
    }

    mutating func add(
        _ element: ServiceElementKey, _ value: ServiceElementValue, to set: NFSetName, in batch: inout NFBatch
    ) {
        if codec.isRange(element) {
            for part in codec.elements(element, .present) { batch.element(.add, part, in: set) }
            return
        }
        key.removeAll(keepingCapacity: true)
        data.removeAll(keepingCapacity: true)
        codec.encode(element, into: &key)
        codec.encode(value, of: element, into: &data)
        key.withUnsafeBytes { key in
            data.withUnsafeBytes { batch.element(.add, key: key, data: $0.isEmpty ? nil : $0, in: set) }
        }
    }
}

extension ServiceElementCodec {
    /// Whether it is in a set of ranges: few, and written as values.
    fileprivate func isRange(_ key: ServiceElementKey) -> Bool {
        switch key {
        case .allowedSource, .serviceRange: true
        default: false
        }
    }
}

extension ServiceElements.Lists.Change {
    /// Each slot that is there before or after; `Endpoint.none` where it is not.
    fileprivate func forEachSlot(_ visit: (_ slot: UInt32, _ old: Endpoint, _ new: Endpoint) -> Void) {
        let (old, new): ([Endpoint], [Endpoint]) =
            switch self {
            case .add(_, let new): ([], new)
            case .remove(_, let old): (old, [])
            case .replace(_, let old, let new): (old, new)
            }
        for slot in 0..<max(old.count, new.count) {
            visit(
                UInt32(slot), slot < old.count ? old[slot] : .none, slot < new.count ? new[slot] : .none)
        }
    }
}
