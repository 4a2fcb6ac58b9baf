import HTTP
import TLS

/// Gathers what an HTTP/1 connection has to say during one event: heads and small bodies in one buffer, large bodies
/// straight from where they stand behind it. An idle connection holds no buffer.
struct HTTP1Writer {
    /// A body piece of up to this many bytes is copied behind its head; a larger one is sent from where it stands.
    static let copyLimit = 4 << 10

    /// How the receiver finds the end of the body.
    enum Framing: UInt8 { case unsaid, length, chunked, none }

    private(set) var output = GrowingBytes()
    var framing = Framing.none
    /// Names are written as `Content-Type`, for those who rely on it.
    var isProperCase = false { didSet { isRestyled = isProperCase || spelling != nil } }
    /// Of the head that is being written, where its names are to be as they came.
    private var spelling: HeaderSpelling?
    private var isRestyled = false

    var isEmpty: Bool { output.isEmpty }

    mutating func deallocate() { output.deallocate() }

    mutating func append(_ bytes: UnsafeRawBufferPointer) { output.append(bytes) }
    mutating func append(_ text: StaticString) { output.append(text) }
    mutating func append(decimal number: Int) { output.append(decimal: number) }

    /// The fields of a block, but for those that frame this hop.
    mutating func fields(_ block: HeaderBlock, keepsConnection: Bool = false) {
        for index in 0..<block.count {
            let field = block.fields[index]
            switch field.name {
            case .transferEncoding, .host: continue
            case .connection, .upgrade: if !keepsConnection { continue }
            default: break
            }
            line(block.name(field), block.value(field))
        }
    }

    mutating func line(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        let size = name.count &+ value.count &+ 4
        // Most of what a proxy writes are such lines: each is looked after once, not piece by piece.
        let line = UnsafeMutableRawBufferPointer(start: output.extend(by: size), count: size)
        line.copyMemory(from: name)
        if isRestyled { restyle(UnsafeMutableRawBufferPointer(rebasing: line[..<name.count])) }
        let separator = line.baseAddress.unsafelyUnwrapped + name.count
        separator.storeBytes(of: UInt16(bigEndian: 0x3a20), as: UInt16.self)
        UnsafeMutableRawBufferPointer(start: separator + 2, count: value.count).copyMemory(from: value)
        (separator + 2 + value.count).storeBytes(of: UInt16(bigEndian: 0x0d0a), as: UInt16.self)
    }

    mutating func line(_ name: StaticString, _ value: StaticString) { line(name.bytes, value.bytes) }

    /// Spells the names of a head as it came; `endHead` ends that.
    mutating func beginHead(_ head: HeaderBlock) {
        guard let spelling = head.spelling else { return }
        self.spelling = spelling
        isRestyled = true
    }

    /// The empty line behind the fields.
    mutating func endHead() {
        append("\r\n")
        guard spelling != nil else { return }
        spelling = nil
        isRestyled = isProperCase
    }

    private func restyle(_ name: UnsafeMutableRawBufferPointer) {
        if let spelling { spelling.apply(to: name) } else { Self.makeProperCase(name) }
    }

    /// A letter at the beginning, or behind anything that is no letter or digit, is a capital.
    static func makeProperCase(_ name: UnsafeMutableRawBufferPointer) {
        var begins = true
        for index in name.indices {
            let byte = name[index]
            let isLetter = byte &- UInt8(ascii: "a") < 26
            if begins, isLetter { name[index] = byte & ~0x20 }
            begins = !isLetter && byte &- UInt8(ascii: "0") >= 10
        }
    }

    /// A piece of the body. False when it is too large to be copied: what is gathered is to be sent (`take`) with the piece
    /// behind it, and `endPiece` then closes it.
    mutating func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !bytes.isEmpty else { return true }
        if framing == .chunked { HTTP1Encoder.chunkHeader(bytes.count, into: &output) }
        guard bytes.count <= Self.copyLimit else { return false }
        output.append(bytes)
        endPiece()
        return true
    }

    mutating func endPiece() {
        if framing == .chunked { output.append("\r\n") }
    }

    /// The end of a chunked body.
    mutating func end(_ trailers: HeaderBlock?) {
        guard framing == .chunked else { return }
        output.append("0\r\n")
        if let trailers { fields(trailers) }
        output.append("\r\n")
    }

    /// Gives what is gathered away. Whoever sends it must not hold the writer meanwhile: a send that fails closes the
    /// connection within the call, and the codec hears of it.
    mutating func take() -> GrowingBytes {
        defer { output = GrowingBytes() }
        return output
    }

    /// Takes memory from the worker before the first byte.
    mutating func prepare(_ worker: ProxyWorker) {
        if output.capacity == 0 { worker.lend(&output) }
    }
}
