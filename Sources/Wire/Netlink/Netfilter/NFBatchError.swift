import Glibc

/// Why a batch did nothing. The kernel goes on behind a message that fails, so all failures of a batch come at once.
public struct NFBatchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One per message that failed, in the batch's order; at least one.
    public var failures: [NetlinkError]

    public init(failures: [NetlinkError]) { self.failures = failures }

    /// The rule set changed since the generation that the batch was made for; read and try again.
    public var isStaleGeneration: Bool { failures.contains { $0.errno == 85 } }  // ERESTART
    /// Somebody else's table (EPERM), or no right to touch the rules at all.
    public var isForbidden: Bool { failures.contains { $0.errno == EPERM } }
    public var isAbsence: Bool { failures.contains { $0.errno == ENOENT } }
    public var isPresence: Bool { failures.contains { $0.errno == EEXIST } }
    /// Whether it was carried out is not known: read back.
    public var leavesStateUnknown: Bool { failures.contains(where: \.leavesStateUnknown) }

    /// How many failures the text names.
    private static let named = 3

    public var description: String {
        var text =
            "nftables refused a change: " + failures.prefix(Self.named).map(\.description).joined(separator: "; ")
        if failures.count > Self.named { text += "; and \(failures.count - Self.named) more" }
        return text
    }
}
