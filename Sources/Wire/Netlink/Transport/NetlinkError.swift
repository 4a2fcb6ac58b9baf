import Glibc

/// What the kernel refused, or a socket could not do: what failed on what, why, and the kernel's own words for it.
public struct NetlinkError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Positive.
    public var errno: CInt
    /// What was asked, as a person would say it: `add route 10.0.0.0/24`.
    public var subject: String
    /// The kernel's extended acknowledgement; empty when it gave none.
    public var text: String
    /// Where in the request the offending attribute starts; nil when the kernel did not say.
    public var offset: UInt32?

    public init(errno: CInt, subject: String, text: String = "", offset: UInt32? = nil) {
        self.errno = errno
        self.subject = subject
        self.text = text
        self.offset = offset
    }

    /// What `errno` says now about a call that just failed.
    static func last(_ call: String) -> NetlinkError { NetlinkError(errno: Glibc.errno, subject: call) }

    public var description: String {
        var text = "\(subject): \(String(cString: strerror(errno)))"
        if !self.text.isEmpty { text += ": \(self.text)" }
        if let offset { text += " (attribute at byte \(offset) of the request)" }
        return text
    }

    /// The answer did not come or got lost: what the kernel did is unknown, and must be read back.
    public var leavesStateUnknown: Bool { [EAGAIN, ENOBUFS, ETIMEDOUT].contains(errno) }
}
