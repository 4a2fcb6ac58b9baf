import Bytes
import Foundation
import Testing

@testable import JSON

@Suite struct JSONPropertyTests {
    /// A value of random shape; text of all planes, numbers of all sizes, keys in no order.
    static func random(_ generator: inout SplitMix64, depth: Int = 0) -> JSONValue {
        func text(_ generator: inout SplitMix64) -> String {
            let length = Int.random(in: 0...20, using: &generator)
            var text = ""
            for _ in 0..<length {
                let scalar: UInt32 =
                    switch Int.random(in: 0..<8, using: &generator) {
                    case 0: UInt32.random(in: 0..<0x20, using: &generator)
                    case 1: [0x22, 0x5C, 0x2F, 0x7F].randomElement(using: &generator) ?? 0x22
                    case 2: UInt32.random(in: 0x80..<0xD800, using: &generator)
                    case 3: UInt32.random(in: 0x1_0000...0x10_FFFF, using: &generator)
                    default: UInt32.random(in: 0x20..<0x7F, using: &generator)
                    }
                if let scalar = Unicode.Scalar(scalar) { text.unicodeScalars.append(scalar) }
            }
            return text
        }
        switch Int.random(in: 0..<(depth > 5 ? 5 : 8), using: &generator) {
        case 0: return .null
        case 1: return .bool(.random(using: &generator))
        case 2:
            let shift = Int64.random(in: 0..<64, using: &generator)
            return .int(Int64.random(in: .min ... .max, using: &generator) >> shift)
        case 3:
            let double = Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &generator))
            // Whole numbers are read back as integers.
            return double.isFinite && double != double.rounded() ? .double(double) : .double(0.1)
        case 4: return .string(text(&generator))
        case 5:
            return .array(
                (0..<Int.random(in: 0..<6, using: &generator)).map { _ in random(&generator, depth: depth + 1) })
        default:
            var object = JSONObject()
            for _ in 0..<Int.random(in: 0..<40, using: &generator) {
                object[text(&generator)] = random(&generator, depth: depth + 3)
            }
            return .object(object)
        }
    }

    @Test("random values are read back as they were written", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var generator = SplitMix64(seed: seed)
        for _ in 0..<400 {
            let value = Self.random(&generator)
            #expect(try JSONValue.parse(value.encoded()) == value)
            #expect(try JSONValue.parse(value.pretty()) == value)
        }
    }

    @Test("random text that was cut or changed is read or refused, and nothing traps", arguments: [4, 5] as [UInt64])
    func damage(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        for _ in 0..<2000 {
            var bytes = Self.random(&generator).encoded()
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let at = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: at)
                default: bytes.removeLast(bytes.count - at)
                }
            }
            if let value = try? JSONValue.parse(bytes) { #expect((try? JSONValue.parse(value.encoded())) == value) }
        }
    }

    @Test("members are found, in small objects and large ones, whatever order they came in")
    func lookup() throws {
        for count in [0, 1, 7, 8, 9, 24, 25, 1000] {
            let keys = (0..<count).map { "key\($0 &* 7919 % 100_003)" }
            let text = "{" + keys.enumerated().map { "\"\($1)\":\($0)" }.joined(separator: ",") + "}"
            let object = try #require(try JSONValue.parse(text).object)
            #expect(object.count == count)
            for (index, key) in keys.enumerated() { #expect(object[key]?.int == Int64(index)) }
            #expect(object["absent"] == nil && object["key"] == nil)
            #expect(object.keys == object.keys.sorted())
        }
    }

    @Test("an object whose members are all the same one keeps the last", arguments: [2, 24, 25, 500])
    func sameKey(count: Int) throws {
        var told = 0
        let text = "{" + (0..<count).map { "\"k\":\($0)" }.joined(separator: ",") + "}"
        let value = try JSONValue.parse(text) { path in told += path == "k" ? 1 : 0 }
        #expect(value == ["k": .int(Int64(count - 1))])
        #expect(told == count - 1)
    }

    @Test("strings end where they end, at every distance from the scanner's words") func scanning() throws {
        for length in 0..<40 {
            for special in ["", "\"", "\\", "\n", "é", "😀"] {
                let text = String(repeating: "a", count: length) + special + String(repeating: "b", count: length % 9)
                let encoded = JSONValue.string(text).encoded()
                #expect(try JSONValue.parse(encoded) == .string(text))
                #expect(try JSONValue.parse("[\(String(decoding: encoded, as: UTF8.self)),1]") == [.string(text), 1])
            }
        }
    }

    /// Python reads what we write and writes what we read; it differs from us in no value here.
    @Test("Python's json agrees", .enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")))
    func python() throws {
        var generator = SplitMix64(seed: 6)
        let values = (0..<200).map { _ in Self.random(&generator) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        process.arguments = [
            "-c", "import json,sys\nfor line in sys.stdin: print(json.dumps(json.loads(line)))",
        ]
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let text = values.map { $0.encodedString() + "\n" }.joined()
        let writer = Thread {
            input.fileHandleForWriting.write(Data(text.utf8))
            try? input.fileHandleForWriting.close()
        }
        writer.start()
        let answer = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let lines = answer.split(separator: "\n")
        #expect(lines.count == values.count)
        for (line, value) in zip(lines, values) { #expect(try JSONValue.parse(String(line)) == value) }
    }
}
