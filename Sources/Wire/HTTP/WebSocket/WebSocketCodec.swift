import TLS

/// WebSocket frames (RFC 6455): bytes to frames and back, no I/O. Made for exec, attach and port-forward, which speak
/// binary messages of one frame mostly; fragments are put together up to a limit.
public struct WebSocketDecoder: Sendable {
    public enum Role: Hashable, Sendable { case client, server }

    public enum Message: Hashable, Sendable {
        case text([UInt8])
        case binary([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        /// The peer says goodbye, with its code (1005 if it gave none) and reason. Answer with the same code, then close.
        case close(code: UInt16, reason: String)
    }

    /// The peer broke the protocol; send `code` in a close frame and end the connection.
    public struct Violation: Error, Hashable, Sendable, CustomStringConvertible {
        public var code: UInt16
        public var description: String
    }

    private let role: Role
    private let maximumMessage: Int
    private var fragments: [UInt8] = []
    private var fragmentsAreText: Bool?

    /// - Parameters:
    ///   - role: ours. A server demands masked frames, a client refuses them.
    ///   - maximumMessage: bytes of a message, fragments together. Beyond: violation 1009.
    public init(_ role: Role, maximumMessage: Int = 1 << 20) {
        self.role = role
        self.maximumMessage = maximumMessage
    }

    /// The next message that `input` begins with.
    ///
    /// - Returns: nil if it is not complete yet; the unused bytes are to be offered again with more behind them.
    ///   `consumed` is advanced over what was used, also when fragments were taken without completing a message.
    public mutating func next(
        _ input: UnsafeRawBufferPointer, consumed: inout Int
    ) throws(Violation) -> Message? {
        while let frame = try parseFrame(input, from: consumed) {
            consumed = frame.end
            if let message = try accept(frame) { return message }
        }
        return nil
    }

    private struct Frame {
        var isFinal: Bool
        var opcode: UInt8
        var payload: [UInt8]
        var end: Int
    }

    private func parseFrame(_ input: UnsafeRawBufferPointer, from start: Int) throws(Violation) -> Frame? {
        guard input.count - start >= 2 else { return nil }
        let first = input[start]
        let second = input[start + 1]
        guard first & 0x70 == 0 else { throw Violation(code: 1002, description: "reserved bits without an extension") }
        let isMasked = second & 0x80 != 0
        guard isMasked == (role == .server) else {
            throw Violation(
                code: 1002, description: isMasked ? "masked frame from a server" : "unmasked frame from a client")
        }
        let opcode = first & 0x0f
        let isControl = opcode & 8 != 0
        var at = start + 2
        var length = UInt64(second & 0x7f)
        if length >= 126 {
            let width = length == 126 ? 2 : 8
            guard input.count - at >= width else { return nil }
            length = input[at..<at + width].reduce(0) { $0 << 8 | UInt64($1) }
            guard length > (width == 2 ? 125 : 0xffff) else {
                throw Violation(code: 1002, description: "a length in more bytes than it needs")
            }
            at += width
        }
        if isControl, length > 125 || first & 0x80 == 0 {
            throw Violation(code: 1002, description: "a control frame in fragments or longer than 125 bytes")
        }
        guard length <= UInt64(maximumMessage) else {
            throw Violation(code: 1009, description: "a message longer than \(maximumMessage) bytes")
        }
        let count = Int(length)
        guard input.count - at >= count + (isMasked ? 4 : 0) else { return nil }
        var payload: [UInt8]
        if isMasked {
            let mask = (input[at], input[at + 1], input[at + 2], input[at + 3])
            at += 4
            payload = [UInt8](input[at..<at + count])
            WebSocketMask.apply(mask, to: &payload)
        } else {
            payload = [UInt8](input[at..<at + count])
        }
        return Frame(isFinal: first & 0x80 != 0, opcode: opcode, payload: payload, end: at + count)
    }

    private mutating func accept(_ frame: Frame) throws(Violation) -> Message? {
        switch frame.opcode {
        case 0:
            guard let isText = fragmentsAreText else {
                throw Violation(code: 1002, description: "a continuation of nothing")
            }
            return try append(frame, isText)
        case 1, 2:
            guard fragmentsAreText == nil else {
                throw Violation(code: 1002, description: "a new message before the last fragment of the old one")
            }
            return try append(frame, frame.opcode == 1)
        case 8: return try close(frame.payload)
        case 9: return .ping(frame.payload)
        case 10: return .pong(frame.payload)
        default: throw Violation(code: 1002, description: "unknown opcode \(frame.opcode)")
        }
    }

    private mutating func append(_ frame: Frame, _ isText: Bool) throws(Violation) -> Message? {
        guard fragments.count + frame.payload.count <= maximumMessage else {
            throw Violation(code: 1009, description: "a message longer than \(maximumMessage) bytes")
        }
        if fragments.isEmpty { fragments = frame.payload } else { fragments += frame.payload }
        guard frame.isFinal else {
            fragmentsAreText = isText
            return nil
        }
        let whole = fragments
        fragments = []
        fragmentsAreText = nil
        guard isText else { return .binary(whole) }
        guard String(validating: whole, as: UTF8.self) != nil else {
            throw Violation(code: 1007, description: "text that is not UTF-8")
        }
        return .text(whole)
    }

    private func close(_ payload: [UInt8]) throws(Violation) -> Message {
        guard !payload.isEmpty else { return .close(code: 1005, reason: "") }
        guard payload.count >= 2 else { throw Violation(code: 1002, description: "half a close code") }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code) else {
            throw Violation(code: 1002, description: "close code \(code)")
        }
        guard let reason = String(validating: payload[2...], as: UTF8.self) else {
            throw Violation(code: 1007, description: "a close reason that is not UTF-8")
        }
        return .close(code: code, reason: reason)
    }
}

/// Writes frames. A client's are masked with fresh random bytes, as the RFC demands.
public struct WebSocketEncoder: Sendable {
    private let role: WebSocketDecoder.Role

    public init(_ role: WebSocketDecoder.Role) { self.role = role }

    public func binary(_ payload: some Collection<UInt8>, into output: inout [UInt8]) { frame(2, payload, &output) }
    public func text(_ payload: some Collection<UInt8>, into output: inout [UInt8]) { frame(1, payload, &output) }
    public func ping(_ payload: some Collection<UInt8> = [], into output: inout [UInt8]) { frame(9, payload, &output) }
    public func pong(_ payload: some Collection<UInt8> = [], into output: inout [UInt8]) { frame(10, payload, &output) }

    /// A close frame; the reason is cut so that the frame stays within 125 bytes.
    public func close(code: UInt16, reason: String = "", into output: inout [UInt8]) {
        // 1005 means "no code was given" and never stands in a frame.
        guard code != 1005 else { return frame(8, [], &output) }
        var text = reason
        while text.utf8.count > 123 { text.removeLast() }
        frame(8, [UInt8(code >> 8), UInt8(code & 0xff)] + Array(text.utf8), &output)
    }

    private func frame(_ opcode: UInt8, _ payload: some Collection<UInt8>, _ output: inout [UInt8]) {
        output.append(0x80 | opcode)
        let maskBit: UInt8 = role == .client ? 0x80 : 0
        let count = payload.count
        if count < 126 {
            output.append(maskBit | UInt8(count))
        } else if count <= 0xffff {
            output.append(maskBit | 126)
            output.append(UInt8(count >> 8))
            output.append(UInt8(count & 0xff))
        } else {
            output.append(maskBit | 127)
            for shift in stride(from: 56, through: 0, by: -8) {
                output.append(UInt8(truncatingIfNeeded: count >> shift))
            }
        }
        guard role == .client else {
            output.append(contentsOf: payload)
            return
        }
        let key = SecureRandom.bytes(4)
        output.append(contentsOf: key)
        var masked = [UInt8](payload)
        WebSocketMask.apply((key[0], key[1], key[2], key[3]), to: &masked)
        output.append(contentsOf: masked)
    }
}

private enum WebSocketMask {
    static func apply(_ key: (UInt8, UInt8, UInt8, UInt8), to bytes: inout [UInt8]) {
        let word =
            UInt64(key.0) | UInt64(key.1) << 8 | UInt64(key.2) << 16 | UInt64(key.3) << 24
        let wide = word | word << 32
        bytes.withUnsafeMutableBytes { bytes in
            var at = 0
            while at + 8 <= bytes.count {
                let value = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ wide.littleEndian
                bytes.storeBytes(of: value, toByteOffset: at, as: UInt64.self)
                at += 8
            }
            while at < bytes.count {
                bytes[at] ^= UInt8(truncatingIfNeeded: word >> UInt64(at % 4 * 8))
                at += 1
            }
        }
    }
}
