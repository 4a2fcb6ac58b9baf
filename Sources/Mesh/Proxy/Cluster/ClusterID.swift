import Synchronization

/// A cluster's name as a small number, so that a route reaches its cluster without a hash of text.
///
/// Given out once for each name that configuration ever mentioned, and never taken back: a name costs its text and some
/// forty bytes.
package struct ClusterID: Hashable, Sendable {
    package let rawValue: UInt32

    private struct Names {
        var ids: [String: UInt32] = [:]
        var names: [String] = []
    }
    private static let known = Mutex(Names())

    package init(_ name: String) {
        rawValue = Self.known.withLock { known in
            if let id = known.ids[name] { return id }
            let id = UInt32(known.names.count)
            known.names.append(name)
            known.ids[name] = id
            return id
        }
    }

    /// The number of a name that configuration mentioned before; nil for any other, so that requests cannot fill the table.
    package init?(known name: String) {
        guard let id = Self.known.withLock({ $0.ids[name] }) else { return nil }
        rawValue = id
    }

    package var name: String { Self.known.withLock { $0.names[Int(rawValue)] } }
}
