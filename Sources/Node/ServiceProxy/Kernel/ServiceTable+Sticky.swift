import Netlink

/// Session affinity: a map that the kernel itself fills, from endpoint list and client to the member of the list that the
/// client keeps.
///
/// A member is looked up anew for each connection, so that an endpoint that is gone is gone for its clients, too, without
/// anybody looking for them. What a rule loads from a map goes into the number or into the translation and nowhere else:
/// that is what nft 1.0 can print (it aborts on a rule that hands a map's data to `update`), and why members have numbers.
extension ServiceTable {
    /// Clients that the kernel remembers at once, of all Services; those beyond it are served without affinity. It is what
    /// somebody who sends from ever new addresses can make the kernel keep.
    static let stickyClientLimit: UInt32 = 131_072

    /// Not among the sets that are read and compared: what is in it is the kernel's, and survives us.
    var stickyClients: NFSet {
        NFSet(
            NFSetName(name, "sticky-clients"),
            key: [.classID, family == .ip ? .ipv4Address : .ipv6Address], mapped: .data([.classID]),
            flags: [.timeout, .dynamic], size: Self.stickyClientLimit)
    }

    private static let prefix = "sticky-"

    func chain(_ sticky: StickyClass) -> NFChain { NFChain(chain(chainName(sticky))) }

    /// Leads the class to its chain.
    func element(_ sticky: StickyClass, as slotClass: SlotClass) -> NFElement {
        NFElement(
            key: UInt32(slotClass.rawValue).registerBytes, data: .verdict(.goto(chainName(sticky))))
    }

    private func chainName(_ sticky: StickyClass) -> String {
        "\(Self.prefix)\(sticky.slots.slots)-\(sticky.affinity.timeout)"
    }

    /// The other way round; nil for an element of another class, or that we never wrote.
    func sticky(_ element: NFElement) -> (SlotClass, StickyClass)? {
        guard element.key.count == 4, case .verdict(.goto(let name)) = element.data, name.hasPrefix(Self.prefix)
        else { return nil }
        let words = name.dropFirst(Self.prefix.count).split(separator: "-")
        let number = element.key.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        guard words.count == 2, let slots = Int(words[0]), let timeout = UInt32(words[1]),
            let random = SlotClass.all.first(where: { $0.pick == .random && $0.slots == slots }),
            let slotClass = UInt16(exactly: number).map(SlotClass.init(rawValue:)), slotClass.isSticky
        else { return nil }
        return (slotClass, StickyClass(slots: random, affinity: SessionAffinity(timeout: timeout)))
    }

    func rules(_ sticky: StickyClass) -> [NFRule] {
        let chainName = chainName(sticky)
        let clients = stickyClients.id.name
        let milliseconds = UInt64(sticky.affinity.timeout) * 1000
        // The member's number, its endpoint behind it; and list and client, by which it is remembered.
        let member: UInt8 = 10, endpoint: UInt8 = 5
        let load: [NFExpression] = [
            .meta(.priority, into: NFRegister(member)),
            .lookup(ServiceSet.stickyMembers.name, key: NFRegister(member), into: .register(NFRegister(endpoint))),
        ]
        let key: [NFExpression] = [
            .meta(.priority, into: 0),
            .bitwise(from: 0, into: 0, mask: Dispatch.listMask.registerBytes, xor: UInt32(0).registerBytes),
            .payload(source, into: 1), .meta(.priority, into: NFRegister(member)),
        ]
        func client(_ operation: E.DynamicSet.Operation, timeout: UInt64? = nil) -> NFExpression {
            .dynamicSet(.init(operation, clients, key: 0, data: NFRegister(member), timeout: timeout))
        }
        return [
            stripToList(chainName),
            // A client that we know has its member's number now.
            rule(
                chainName,
                [
                    .meta(.priority, into: 0), .payload(source, into: 1),
                    .lookup(clients, key: 0, into: .register(0)), .setMeta(.priority, from: 0),
                ]),
            // If that member is still there: the time-out begins anew.
            rule(chainName, load + key + [client(.update, timeout: milliseconds), translate(endpoint)]),
            stripToList(chainName),
            rule(
                chainName,
                [.meta(.priority, into: 0)] + pick(sticky.slots) + [
                    .lookup(ServiceSet.stickySlots.name, key: 0, into: .register(0)), .setMeta(.priority, from: 0),
                ]),
            // What it kept of a member that is gone has to go first: adding changes nothing that is there.
            rule(
                chainName,
                load + key + [client(.delete), client(.add, timeout: milliseconds), translate(endpoint)]),
            // No room to remember it.
            rule(chainName, load + [translate(endpoint)]),
        ]
    }
}
