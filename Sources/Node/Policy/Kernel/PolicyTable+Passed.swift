import Bytes
import Netlink

/// What becomes of packets that passed: their connection is marked, and the way that they took is remembered, so that the next
/// connection on it costs one lookup, whatever the policies are.
///
/// A verdict rests on nothing but the elements and the way (client, server, protocol, port). So a remembered way is as good as a mark,
/// and in force only while a mark is: the change that puts a mark in force forgets all ways in the same transaction.
extension PolicyTable {
    static let passedChain = "passed"
    /// Ways that are remembered for each family, and for how long (milliseconds). Where there is no room, packets are judged.
    static let passedLimit: UInt32 = 16384
    static let passedTimeout: UInt64 = 60_000
    /// What a packet has for its priority between judgement and the chain of those that passed.
    static let passedPriority: UInt32 = 0x5F00_0001

    static func passedName(_ family: IPAddress.Family) -> String { family == .v4 ? "passed-v4" : "passed-v6" }

    /// Who passed lately: client · server · protocol · port. The kernel writes it.
    func passed(_ family: IPAddress.Family) -> NFSet {
        let address: NFDataType = family == .v4 ? .ipv4Address : .ipv6Address
        return NFSet(
            NFSetName(name, Self.passedName(family)), key: [address, address, .transport, .port], flags: .dynamic,
            timeout: Self.passedTimeout, size: Self.passedLimit)
    }

    /// Marks of others stay, and such connections are judged packet by packet.
    private var isUnmarked: [E] { [.ct(.mark, into: 0), .compare(0, .equal, UInt32(0).registerBytes)] }

    /// Ends the rule while no mark is in force.
    private var stamp: [E] {
        [
            .immediate(UInt32(0).registerBytes, into: 0),
            .lookup(PolicySet.stamp.rawValue, key: 0, into: .register(0)), .setConntrack(.mark, from: 0),
        ]
    }

    private func way(_ half: Half) -> [E] {
        let slots = half.addressSlots
        return [
            .payload(half.client, into: 0), .payload(half.server, into: NFRegister(slots)),
            .meta(.transport, into: NFRegister(2 * slots)), .payload(half.port, into: NFRegister(2 * slots + 1)),
        ]
    }

    /// The first packet of a connection on a way that is remembered.
    func passesAsBefore(_ family: IPAddress.Family) -> NFRule {
        let half = Half(family: family, direction: .egress, isReply: false)
        return rule(
            half.gate,
            isUnmarked + way(half) + [.lookup(Self.passedName(family), key: 0)] + stamp
                + [.counter(), .verdict(.accept)])
    }

    /// The chain of those that passed.
    var passing: [NFRule] {
        let isOurs: [E] = [
            .ct(.mark, into: 0),
            .bitwise(from: 0, into: 0, mask: JudgementMark.tagMask.registerBytes, xor: UInt32(0).registerBytes),
            .compare(0, .equal, JudgementMark.tag.registerBytes),
        ]
        func hasPriority(_ comparison: E.Comparison) -> [E] {
            [.meta(.priority, into: 0), .compare(0, comparison, Self.passedPriority.registerBytes)]
        }
        let remembering = [IPAddress.Family.v4, .v6].map { family in
            let half = Half(family: family, direction: .egress, isReply: false)
            // What has no ports has something else there.
            let hasPorts: [E] = [.meta(.transport, into: 0), .compare(0, .notEqual, [family == .v4 ? 1 : 58])]
            return [
                .meta(.family, into: 0), .compare(0, .equal, [family == .v4 ? 2 : 10]), .ct(.direction, into: 0),
                .compare(0, .equal, [0]),
            ] + hasPorts + [.ct(.mark, into: 0), .lookup(PolicySet.judged.rawValue, key: 0)] + way(half)
                + [.dynamicSet(.init(.update, Self.passedName(family), key: 0))]
        }
        // What nobody judged has the priority that it came with, and no way that would be worth remembering.
        return [
            isUnmarked + stamp, isOurs + stamp, hasPriority(.notEqual) + [.verdict(.accept)],
            [.immediate(UInt32(0).registerBytes, into: 0), .setMeta(.priority, from: 0)],
        ].map { rule(Self.passedChain, $0) } + remembering.map { rule(Self.passedChain, $0) }
    }
}
