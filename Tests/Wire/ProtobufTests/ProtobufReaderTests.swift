import Protobuf
import Testing

private struct Malformed: ProtobufFailure, Equatable {
    var what: String
    init(malformed what: String) { self.what = what }
}

@Suite("ProtobufReader") struct ProtobufReaderTests {
    /// Number, wire, scalar and bytes of each field.
    private static func fields(_ bytes: [UInt8]) throws -> [String] {
        try bytes.withUnsafeBytes { buffer in
            var reader = ProtobufReader<Malformed>(buffer)
            var found: [String] = []
            while let field = try reader.next() {
                found.append("\(field.number) \(field.wire) \(field.scalar) \(Array(field.bytes))")
            }
            return found
        }
    }

    @Test("fields of every wire type are told apart") func wires() throws {
        let bytes: [UInt8] = [
            0x08, 0x96, 0x01, 0x12, 0x02, 0x61, 0x62, 0x1D, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0,
        ]
        #expect(
            try Self.fields(bytes) == ["1 varint 150 []", "2 bytes 0 [97, 98]", "3 fixed32 1 []", "4 fixed64 2 []"])
    }

    @Test("a group is one field with all that is in it, also groups") func groups() throws {
        // 1 { 2: 5, 3 { } }, then 4: 1
        let bytes: [UInt8] = [0x0B, 0x10, 0x05, 0x1B, 0x1C, 0x0C, 0x20, 0x01]
        #expect(try Self.fields(bytes) == ["1 group 0 [16, 5, 27, 28]", "4 varint 1 []"])
    }

    @Test(
        "what is cut off, out of range or closes nothing is refused",
        arguments: [
            [0x08], [0x12, 0x02, 0x61], [0x1D, 0, 0, 0], [0x21, 0], [0x0B, 0x10], [0x0B, 0x14], [0x0C], [0x0E], [0x00],
            [0x08] + Array(repeating: 0xFF, count: 10), [0x08] + Array(repeating: 0xFF, count: 9) + [0x02],
            [0x12] + Array(repeating: 0xFF, count: 9) + [0x01],
        ] as [[UInt8]])
    func malformed(bytes: [UInt8]) {
        #expect(throws: Malformed.self) { try Self.fields(bytes) }
    }

    @Test("what the buffer wrote is read back", arguments: [0, 1, 127, 128, 300, 1 << 32, UInt64.max] as [UInt64])
    func roundTrip(value: UInt64) throws {
        var out = ReverseBuffer(capacity: 1)
        out.prepend(field: 3, text: "text")
        out.prepend(varint: value)
        out.prepend(field: 1, .varint)
        #expect(try Self.fields(out.bytes) == ["1 varint \(value) []", "3 bytes 0 \(Array("text".utf8))"])
    }
}
