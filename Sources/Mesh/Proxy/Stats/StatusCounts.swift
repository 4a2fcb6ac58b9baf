/// Responses by the first digit of their status.
package struct StatusClasses: Sendable {
    package var informational: UInt64 = 0
    package var successful: UInt64 = 0
    package var redirections: UInt64 = 0
    package var clientErrors: UInt64 = 0
    package var serverErrors: UInt64 = 0

    mutating func count(_ status: Int) {
        switch status / 100 {
        case 1: informational &+= 1
        case 2: successful &+= 1
        case 3: redirections &+= 1
        case 4: clientErrors &+= 1
        default: serverErrors &+= 1
        }
    }
}

/// Responses by their status: those that came are few, so a row is as good as a table.
package struct StatusCounts: Sendable {
    package private(set) var counts: [(status: UInt16, count: UInt64)] = []

    mutating func count(_ status: Int) {
        let status = UInt16(clamping: status)
        for index in counts.indices where counts[index].status == status {
            counts[index].count &+= 1
            return
        }
        counts.append((status, 1))
    }

    mutating func add(_ other: StatusCounts) {
        for (status, count) in other.counts {
            if let index = counts.firstIndex(where: { $0.status == status }) {
                counts[index].count += count
            } else {
                counts.append((status, count))
            }
        }
    }
}

/// Bytes that went each way over the connections of something.
package struct ByteTotals: Sendable {
    package var received: UInt64 = 0
    package var sent: UInt64 = 0
}

/// Counts by name, for what is touched in few places: found by the address of the name's text.
package struct NamedCounts: Sendable {
    package private(set) var counts: [(leaf: StaticString, count: UInt64)] = []

    mutating func count(_ leaf: StaticString) {
        for index in counts.indices where counts[index].leaf.utf8Start == leaf.utf8Start {
            counts[index].count &+= 1
            return
        }
        counts.append((leaf, 1))
    }
}
