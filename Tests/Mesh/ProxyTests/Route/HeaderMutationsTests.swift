import Bytes
import Reactor
import TLS
import Testing

@testable import Proxy

@Suite("Changes of header fields")
struct HeaderMutationsTests {
    /// The rule, literally: removals; then every value from the message as it is; then what overwrites, then what is added.
    private struct Model {
        var fields: [(name: String, value: String)] = []
        /// Fields that Envoy keeps one of.
        static let joined: Set<String> = ["user-agent", "via"]

        func value(_ name: String) -> String? { fields.first { $0.name == name }?.value }

        mutating func apply(_ removals: [String], _ additions: [Change]) {
            fields.removeAll { removals.contains($0.name) }
            let values = additions.map { change -> String? in
                switch change.kind {
                case .addIfAbsent: if value(change.name) != nil { return nil }
                case .overwriteIfPresent: if value(change.name) == nil { return nil }
                case .append, .overwrite: break
                }
                let text = change.copies.map { value($0) ?? "" } ?? change.text
                return text.isEmpty && !change.keepsEmpty ? nil : text
            }
            for (change, value) in zip(additions, values) where change.overwrites {
                guard let value else { continue }
                let first = fields.firstIndex { $0.name == change.name } ?? fields.count
                fields.removeAll { $0.name == change.name }
                fields.insert((change.name, value), at: min(first, fields.count))
            }
            for (change, value) in zip(additions, values) where !change.overwrites {
                guard let value else { continue }
                if Self.joined.contains(change.name), let index = fields.firstIndex(where: { $0.name == change.name }) {
                    fields[index].value += ",\(value)"
                } else {
                    fields.append((change.name, value))
                }
            }
        }
    }

    private struct Change {
        var name: String
        var kind: HeaderMutations.Kind
        var text: String
        /// The value of this field instead.
        var copies: String?
        var keepsEmpty: Bool

        var overwrites: Bool { kind == .overwrite || kind == .overwriteIfPresent }
    }

    private static let names = ["x-a", "x-b", "x-c", "user-agent", "via", "x-long-name-that-is-no-known-one"]

    @Test("any changes, to any fields, as the rule says")
    func anyChanges() async throws {
        let group = try EventLoopGroup(count: 1, name: "test")
        let loop = group.all[0]
        let failures = try await loop.perform { () throws -> [String] in
            let worker = ProxyWorker(loop, index: 0)
            let stream = HTTPStream(worker)
            defer { worker.close() }
            return try (0..<2000).compactMap { try Self.differs(UInt64($0), stream) }
        }
        #expect(failures.isEmpty, "\(failures.prefix(3))")
        await group.shutdown()
    }

    /// What is wrong, with the seed that shows it.
    private static func differs(_ seed: UInt64, _ stream: HTTPStream) throws -> String? {
        var random = SplitMix64(seed: seed)
        var model = Model()
        let block = stream.request
        block.clear()
        for _ in 0..<random.below(8) {
            let (name, value) = (names[random.below(UInt32(names.count))], ["", "1", "two"][random.below(3)])
            if Model.joined.contains(name), model.value(name) != nil { continue }
            model.fields.append((name, value))
            value.withBytes { block.add(HeaderKey(name), $0) }
        }
        // Several levels, one after the other.
        for _ in 0..<(1 + random.below(3)) {
            let removals = (0..<random.below(3)).map { _ in names[random.below(UInt32(names.count))] }
            let kinds: [HeaderMutations.Kind] = [.append, .addIfAbsent, .overwrite, .overwriteIfPresent]
            let changes = (0..<random.below(6)).map { _ in
                Change(
                    name: names[random.below(UInt32(names.count))], kind: kinds[random.below(4)],
                    text: ["", "v", "longer value"][random.below(3)],
                    copies: random.below(4) == 0 ? names[random.below(UInt32(names.count))] : nil,
                    keepsEmpty: random.below(2) == 0)
            }
            model.apply(removals, changes)
            var mutations = HeaderMutations(
                additions: try changes.map { change in
                    HeaderMutations.Addition(
                        key: HeaderKey(change.name), kind: change.kind,
                        value: try Template(change.copies.map { "%REQ(\($0))%" } ?? change.text, absent: ""),
                        keepsEmpty: change.keepsEmpty)
                })
            mutations.removals = removals.map { HeaderKey($0) }
            mutations.apply(to: block, stream)
        }
        for name in names {
            let wanted = model.fields.filter { $0.name == name }.map(\.value)
            let found = (0..<block.count).filter { block.name(block.fields[$0]).elementsEqual(name.utf8) }
                .map { String(decoding: block.value(block.fields[$0]), as: UTF8.self) }
            guard found == wanted else { return "seed \(seed): \(name) is \(found), not \(wanted)" }
        }
        return nil
    }
}
