import Bytes
import Glibc
import JSON
import Reactor
import TestSupport
import Testing
import XDS

/// The codecs against Google's protobuf library with the messages of PyPI's package `xds-protos`.
@Suite("codecs beside protobuf") struct OracleTests {
    /// A message in both forms, as the library writes them.
    struct Sample {
        var name: String
        var bytes: [UInt8]
        var json: JSONValue

        init?(line: Substring) {
            let columns = line.split(separator: "\t", maxSplits: 2, omittingEmptySubsequences: false)
            guard columns.count == 3, let bytes = Hex.decode(columns[1]),
                let json = try? JSONValue.parse(String(columns[2]))
            else { return nil }
            (name, self.bytes, self.json) = (String(columns[0]), bytes, json)
        }
    }

    private static let folder = #filePath.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" } + "/Oracle"

    /// Both forms are the same message to us, and become the same JSON again. Answers the bytes that we write.
    private static func check(_ sample: Sample) throws -> [UInt8] {
        let type = try #require(ProtoSchema.envoy.message(sample.name))
        var unknown = 0
        let fromBytes = try Message(binary: sample.bytes, type: type, countingUnknown: &unknown)
        #expect(unknown == 0, "\(sample.name) \(Hex.encode(sample.bytes))")
        let fromJSON = try Message(json: sample.json, type: type)
        #expect(fromBytes.json() == sample.json, "\(sample.name) \(Hex.encode(sample.bytes))")
        #expect(fromJSON.json() == sample.json, "\(sample.name) \(Hex.encode(sample.bytes))")
        #expect(try Message(json: fromBytes.json(), type: type).binary() == fromJSON.binary(), "\(sample.name)")
        let written = fromBytes.binary()
        #expect(try Message(binary: written, type: type) == fromBytes, "\(sample.name)")
        return written
    }

    @Test("messages that the library wrote are read, and written the same")
    func captured() throws {
        let samples = try Files.readText(Self.folder + "/captured.tsv").split(separator: "\n").compactMap(Sample.init)
        #expect(samples.count > 100)
        for sample in samples { _ = try Self.check(sample) }
    }

    @Test("no prefix of what the library wrote, and no flipped bit in it, does harm to either codec")
    func damaged() throws {
        let samples = try Files.readText(Self.folder + "/captured.tsv").split(separator: "\n").compactMap(Sample.init)
        var random = SplitMix64(seed: UInt64.random(in: 0 ... .max))
        for sample in samples {
            let type = try #require(ProtoSchema.envoy.message(sample.name))
            let text = sample.json.encoded()
            for count in sample.bytes.indices {
                _ = try? Message(binary: Array(sample.bytes.prefix(count)), type: type)
            }
            for (index, byte) in sample.bytes.enumerated() {
                var changed = sample.bytes
                changed[index] = byte ^ (1 << UInt8.random(in: 0..<8, using: &random))
                guard let read = try? Message(binary: changed, type: type) else { continue }
                let again = try Message(binary: read.binary(), type: type)
                #expect(again == read, "\(sample.name) \(Hex.encode(changed))")
                _ = read.json()
            }
            for (index, byte) in text.enumerated() {
                var changed = text
                changed[index] = byte ^ (1 << UInt8.random(in: 0..<8, using: &random))
                guard let json = try? JSONValue.parse(changed), let read = try? Message(json: json, type: type) else {
                    continue
                }
                let again = try Message(binary: read.binary(), type: type)
                #expect(again.json() == read.json(), "\(sample.name) \(String(decoding: changed, as: UTF8.self))")
            }
        }
    }

    private static let library = PythonPackage.folder(
        "xds-protos", "1.85.0", named: "xds-protos", probe: "envoy/config/cluster/v3/cluster_pb2.py",
        with: ["protobuf==7.36.2"])

    @Test(
        "random messages of every type are the same to the library and to us",
        .enabled(if: library != nil, "PyPI's xds-protos cannot be installed"))
    func live() throws {
        let library = try #require(Self.library)
        let scratch = try ScratchFolder()
        let seed = Int.random(in: 1...1_000_000)
        // The package's OpenTelemetry is of a time when that had fields that it has no more.
        let names = ProtoSchema.envoy.messageNames.filter { !$0.hasPrefix("opentelemetry.") }
        try Files.writeAtomically("\(scratch.path)/names", names.joined(separator: "\n"))
        let python = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='\(library)' python3 '\(Self.folder)/messages.py'"
        try #require(system("\(python) make \(seed) 3 <'\(scratch.path)/names' >'\(scratch.path)/made'") == 0)
        let lines = try Files.readText("\(scratch.path)/made", limit: 64 << 20).split(separator: "\n")
        let samples = lines.compactMap(Sample.init)
        #expect(samples.count == lines.count && samples.count > 2400, "seed \(seed)")
        var pairs = ""
        for sample in samples {
            do {
                pairs += "\(sample.name)\t\(Hex.encode(try Self.check(sample)))\t\(Hex.encode(sample.bytes))\n"
            } catch { Issue.record("seed \(seed): \(sample.name) \(Hex.encode(sample.bytes)): \(error)") }
        }
        try Files.writeAtomically("\(scratch.path)/pairs", pairs)
        try #require(system("\(python) same <'\(scratch.path)/pairs' >'\(scratch.path)/different'") == 0)
        let different = try Files.readText("\(scratch.path)/different", limit: 64 << 20)
        #expect(different.isEmpty, "seed \(seed)")
    }
}
