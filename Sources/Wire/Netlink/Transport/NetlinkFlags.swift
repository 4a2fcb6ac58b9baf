/// `nlmsg_flags`. The upper byte means one thing on requests that make, another on those that get.
public struct NetlinkFlags: OptionSet, Hashable, Sendable {
    public var rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let request = Self(rawValue: 0x01)
    /// One part of several; the last is a `DONE` message.
    public static let multi = Self(rawValue: 0x02)
    public static let ack = Self(rawValue: 0x04)
    /// Send what was made back, with the handle that it got.
    public static let echo = Self(rawValue: 0x08)
    /// The table changed while it was dumped: what was read is not of one moment.
    public static let dumpInterrupted = Self(rawValue: 0x10)

    /// On `NEW` requests.
    public static let replace = Self(rawValue: 0x100)
    public static let exclusive = Self(rawValue: 0x200)
    public static let excl = exclusive
    public static let create = Self(rawValue: 0x400)
    public static let append = Self(rawValue: 0x800)

    /// On `DEL` requests of nftables: refuse when the object still holds something.
    public static let nonRecursive = Self(rawValue: 0x100)

    /// On `GET` requests.
    public static let dump = Self(rawValue: 0x300)

    /// On answers: the request's payload is not repeated.
    static let capped = Self(rawValue: 0x100)
    /// On answers: extended-ack attributes follow.
    static let extendedAck = Self(rawValue: 0x200)
}
