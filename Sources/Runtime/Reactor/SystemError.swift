import CLinux
import Glibc

/// A system call that failed: which, on what, and why. Reads as a sentence: `bind 10.0.0.1:80: Address already in use`.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kernel's error number (`ECONNREFUSED`…).
    public var errno: CInt
    /// The call that failed (`connect`).
    public var call: String
    /// What it was done to: an address, a path, a program; may be empty.
    public var subject: String

    public init(errno: CInt, call: String, subject: String = "") {
        self.errno = errno
        self.call = call
        self.subject = subject
    }

    /// From the calling thread's `errno`, to be taken directly after the call.
    public static func last(_ call: String, _ subject: String = "") -> SystemError {
        SystemError(errno: Glibc.errno, call: call, subject: subject)
    }

    public var description: String {
        "\(call)\(subject.isEmpty ? "" : " ")\(subject): \(Self.text(errno))"
    }

    /// Whether the call may succeed when tried again later without a change: a peer that is away, a resource that ran out.
    public var isTransient: Bool {
        switch errno {
        case EAGAIN, EINTR, ECONNREFUSED, ECONNRESET, ETIMEDOUT, EPIPE, EHOSTUNREACH, ENETUNREACH, ENOBUFS, ENOMEM,
            EMFILE, ENFILE, EADDRNOTAVAIL, ECONNABORTED, EBUSY:
            true
        default: false
        }
    }

    /// The C library's sentence for an error number.
    public static func text(_ number: CInt) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { room in
            guard let base = room.baseAddress else { return "error \(number)" }
            return String(cString: weft_error_text(number, base, room.count))
        }
    }
}

/// A limit in time was reached before the work was done.
public struct TimeoutError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was waited for, as a noun phrase; may be empty.
    public var operation: String
    public var limit: Duration

    public init(_ operation: String = "", limit: Duration) {
        self.operation = operation
        self.limit = limit
    }

    public var description: String {
        "\(operation.isEmpty ? "the operation" : operation) took longer than \(limit)"
    }
}

/// Answers the call's result, repeating it while a signal interrupts it; throws with the calling thread's `errno`.
@inline(__always)
func checked(
    _ call: @autoclosure () -> String, _ subject: @autoclosure () -> String = "", _ body: () -> CInt
) throws(SystemError) -> CInt {
    while true {
        let result = body()
        if result >= 0 { return result }
        let number = Glibc.errno
        if number != EINTR { throw SystemError(errno: number, call: call(), subject: subject()) }
    }
}
