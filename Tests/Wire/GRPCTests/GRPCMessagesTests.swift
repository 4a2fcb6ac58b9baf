import GRPC
import Testing

/// Messages are cut out of a body, however it comes.
@Suite("gRPC's framing") struct GRPCMessagesTests {
    private static let messages: [[UInt8]] = [[1, 2, 3], [], Array(repeating: 7, count: 70_000), [9]]
    private static let body = messages.flatMap(GRPCMessages.framed)

    @Test("messages come whole, in pieces of any size", arguments: [1, 2, 3, 5, 7, 4096, 1 << 20])
    func pieces(size: Int) throws {
        var reader = GRPCMessages()
        var found: [[UInt8]] = []
        var rest = Self.body[...]
        while !rest.isEmpty {
            reader.append(rest.prefix(size))
            rest = rest.dropFirst(size)
            while let message = try reader.next() { found.append(message) }
        }
        #expect(found == Self.messages)
        #expect(reader.waiting == 0)
    }

    @Test("the beginning of a message is none") func prefixes() throws {
        let framed = GRPCMessages.framed([1, 2, 3])
        for count in 0..<framed.count {
            var reader = GRPCMessages()
            reader.append(framed.prefix(count))
            #expect(try reader.next() == nil)
            #expect(reader.waiting == count)
        }
    }

    @Test("a message over the limit is refused when its header is there") func limit() throws {
        var reader = GRPCMessages(limit: 10)
        reader.append(GRPCMessages.framed(Array(repeating: 0, count: 10)))
        #expect(try reader.next()?.count == 10)
        reader.append(GRPCMessages.framed(Array(repeating: 0, count: 11)).prefix(5))
        let error = #expect(throws: GRPCEnding.self) { try reader.next() }
        #expect(error?.code == GRPCEnding.Code.resourceExhausted.rawValue)
    }

    @Test(
        "compressed messages, which nobody asked for, and other flags are refused",
        arguments: [(1, 12), (2, 13), (255, 13)])
    func flags(flag: Int, code: Int) throws {
        var reader = GRPCMessages()
        reader.append([UInt8(flag), 0, 0, 0, 0])
        let error = #expect(throws: GRPCEnding.self) { try reader.next() }
        #expect(error?.code == code)
    }

    @Test(
        "a status' text is decoded",
        arguments: [
            ("no such thing", "no such thing"), ("100%25 sure", "100% sure"), ("%C3%BC", "ü"), ("%", "%"), ("%4", "%4"),
            ("%zz", "%zz"),
        ])
    func text(field: String, text: String) {
        #expect(GRPCEnding.text(ofField: Array(field.utf8)) == text)
    }
}
