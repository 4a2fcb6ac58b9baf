import Synchronization

/// Spreads connections over listeners at one place, one a loop, so that each has as many as the others: for few connections
/// that live long, of which the kernel's hash may give one loop most. Costs a lock at each accept and each close, and a wake-up for
/// each connection that goes to another loop. Any thread.
public final class ConnectionBalance: Sendable {
    private struct Member {
        var listener: Listener
        var connections = 0
    }
    private let members = Mutex<[Member]>([])

    public init() {}

    func join(_ listener: Listener) { members.withLock { $0.append(Member(listener: listener)) } }

    /// Nothing is handed over any more, neither to it nor by it.
    func leave(_ listener: Listener) { members.withLock { $0.removeAll { $0.listener === listener } } }

    /// Who takes a connection that `arriving` has accepted: whoever has fewest, of equals itself. It is counted.
    func place(_ arriving: Listener) -> Listener {
        members.withLock { members in
            guard let own = members.firstIndex(where: { $0.listener === arriving }) else { return arriving }
            var chosen = own
            for index in members.indices where members[index].connections < members[chosen].connections {
                chosen = index
            }
            members[chosen].connections += 1
            return members[chosen].listener
        }
    }

    func closed(_ listener: Listener) {
        members.withLock { members in
            guard let own = members.firstIndex(where: { $0.listener === listener }) else { return }
            members[own].connections -= 1
        }
    }
}
