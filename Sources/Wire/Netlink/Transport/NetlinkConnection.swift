import Glibc

/// Requests to one netlink family and the kernel's answers, by plain calls.
///
/// The kernel carries a request out inside of the call that sends it: when `send` returns, the answer waits in the
/// socket. So these calls are as good on an event loop as on a thread of their own; what they can wait for is only
/// the kernel's lock (`rtnl`, nftables' commit mutex) while another process holds it. A lost answer ends in
/// `NetlinkError.leavesStateUnknown` after `answerTimeout`.
///
/// Belongs to one thread, or loop, at a time. Stays in the network namespace in which it was opened.
public final class NetlinkConnection {
    /// Seconds until an answer counts as lost.
    public static let answerTimeout = 10
    /// So many requests go out in one datagram, that their answers fit into the receive buffer.
    public static let pipelineDepth = 512
    /// How often a dump is repeated because the table changed under it.
    public static let dumpAttempts = 16

    let descriptor: NetlinkDescriptor
    private var sequence: UInt32 = 1
    private let buffer: UnsafeMutableRawBufferPointer

    /// Opens in the calling thread's namespace, or in the one behind `namespace` (an open descriptor, borrowed).
    public init(_ family: NetlinkProtocol, namespace: CInt? = nil) throws(NetlinkError) {
        descriptor = try openNetlink(family, namespace: namespace, timeout: Self.answerTimeout)
        buffer = .allocate(byteCount: NetlinkDescriptor.datagramLimit, alignment: 16)
    }

    deinit { buffer.deallocate() }

    /// Our netlink port: what others hear of our changes bears it.
    public var portID: UInt32 { descriptor.portID }

    // MARK: Requests

    /// Sends all requests, many in a datagram, and gives each one's answers in order. The kernel runs them in order;
    /// one that fails neither stops nor undoes another. Throws only when the socket itself fails.
    public func exchange(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>] {
        var results: [Result<[NetlinkReply], NetlinkError>] = []
        results.reserveCapacity(requests.count)
        var rest = requests[...]
        while !rest.isEmpty {
            results += try exchangeOnce(rest.prefix(Self.pipelineDepth))
            rest = rest.dropFirst(Self.pipelineDepth)
        }
        return results
    }

    /// One request; throws what the kernel refused.
    @discardableResult
    public func perform(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
        try exchange([request])[0].get()
    }

    private func exchangeOnce(_ requests: ArraySlice<NetlinkRequest>)
        throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>]
    {
        let subject = requests.first?.subject ?? ""
        var writer = NetlinkWriter(reserving: requests.reduce(0) { $0 + $1.body.count + NetlinkMessage.headerSize + 4 })
        let first = takeSequences(requests.count)
        for (index, request) in requests.enumerated() {
            let start = writer.beginMessage(
                type: request.type, flags: [request.flags, .request, .ack], sequence: first &+ UInt32(index))
            request.body.withUnsafeBytes { writer.put($0) }
            writer.endMessage(start)
        }
        var replies = [[NetlinkReply]](repeating: [], count: requests.count)
        var failures = [NetlinkError?](repeating: nil, count: requests.count)
        var open = requests.count
        var answered = [Bool](repeating: false, count: requests.count)
        try send(writer, subject: subject)
        while open > 0 {
            for message in try receive(subject: subject) {
                let index = Int(message.sequence &- first)
                guard index < requests.count else { continue }
                if let verdict = NetlinkAcknowledgement(message) {
                    guard !answered[index] else { continue }
                    answered[index] = true
                    open -= 1
                    failures[index] = verdict.error(requests[requests.startIndex + index].subject)
                } else if message.type >= NetlinkMessage.Control.firstOfFamilies {
                    replies[index].append(
                        NetlinkReply(type: message.type, flags: message.flags, payload: Array(message.payload)))
                }
            }
        }
        return requests.indices.map { index in
            let index = index - requests.startIndex
            return failures[index].map { .failure($0) } ?? .success(replies[index])
        }
    }

    // MARK: Dumps

    /// All that a dump brings, as of one moment: read again when the kernel says that it changed meanwhile, up to
    /// `dumpAttempts` times, then EINTR is thrown. `decode` sees each message in place; nil leaves it out.
    public func dump<Value>(_ request: NetlinkRequest, _ decode: (NetlinkMessage) -> Value?)
        throws(NetlinkError) -> [Value]
    {
        for _ in 0..<Self.dumpAttempts {
            var values: [Value] = []
            let whole = try dumpOnce(request) { message in
                if let value = decode(message) { values.append(value) }
            }
            if whole { return values }
        }
        throw NetlinkError(errno: EINTR, subject: request.subject, text: "it changes faster than it can be read")
    }

    /// As `dump`, without storing: false when the table changed under it and what was seen is not of one moment.
    public func dumpOnce(_ request: NetlinkRequest, _ visit: (NetlinkMessage) -> Void) throws(NetlinkError) -> Bool {
        var writer = NetlinkWriter(reserving: request.body.count + NetlinkMessage.headerSize + 4)
        let sequence = takeSequences(1)
        let start = writer.beginMessage(
            type: request.type, flags: [request.flags, .request, .dump], sequence: sequence)
        request.body.withUnsafeBytes { writer.put($0) }
        writer.endMessage(start)
        try send(writer, subject: request.subject)
        var whole = true
        while true {
            for message in try receive(subject: request.subject) where message.sequence == sequence {
                if message.flags.contains(.dumpInterrupted) { whole = false }
                if let verdict = NetlinkAcknowledgement(message) {
                    if verdict.errno == EINTR { return false }
                    if let error = verdict.error(request.subject) { throw error }
                    return whole
                }
                if message.type >= NetlinkMessage.Control.firstOfFamilies { visit(message) }
            }
        }
    }

    // MARK: For transactions, which number their messages themselves

    /// The first of `count` sequence numbers that no other request of this connection bears.
    func takeSequences(_ count: Int) -> UInt32 {
        defer { sequence &+= UInt32(truncatingIfNeeded: count) }
        return sequence
    }

    func send(_ writer: NetlinkWriter, subject: @autoclosure () -> String) throws(NetlinkError) {
        guard !writer.overflowed else {
            throw NetlinkError(errno: EMSGSIZE, subject: subject(), text: "an attribute exceeds 64 KiB")
        }
        try writer.bytes.withUnsafeBytes { bytes in
            Result { () throws(NetlinkError) in try descriptor.send(bytes, subject: subject()) }
        }.get()
    }

    /// The messages of the next datagram, valid until the next call.
    func receive(subject: @autoclosure () -> String) throws(NetlinkError) -> NetlinkMessages {
        guard let bytes = try descriptor.receive(into: buffer, subject: subject()) else {
            throw NetlinkError(errno: EAGAIN, subject: subject())
        }
        return NetlinkMessages(bytes)
    }

    /// The messages of a datagram that is there already, valid until the next call; nil when there is none.
    func receiveWaiting(subject: @autoclosure () -> String) throws(NetlinkError) -> NetlinkMessages? {
        try descriptor.receive(into: buffer, waiting: false, subject: subject()).map(NetlinkMessages.init)
    }
}
