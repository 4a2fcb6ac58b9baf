/// One request of any netlink family: type, flags, and the bytes behind the header.
public struct NetlinkRequest: Hashable, Sendable {
    public var type: UInt16
    /// `request`, and `ack` or `dump`, are added when it is sent.
    public var flags: NetlinkFlags
    public var body: [UInt8]
    /// What it does, for errors: `add link veth0`.
    public var subject: String

    public init(type: UInt16, flags: NetlinkFlags = [], body: [UInt8], subject: String) {
        self.type = type
        self.flags = flags
        self.body = body
        self.subject = subject
    }
}

/// A message that the kernel sent in answer, with a copy of its payload.
public struct NetlinkReply: Hashable, Sendable {
    public var type: UInt16
    public var flags: NetlinkFlags
    public var payload: [UInt8]

    public init(type: UInt16, flags: NetlinkFlags = [], payload: [UInt8]) {
        self.type = type
        self.flags = flags
        self.payload = payload
    }
}
