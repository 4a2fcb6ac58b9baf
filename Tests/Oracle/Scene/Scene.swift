import JSON
import Reactor
import TestSupport
import YAML

/// A folder of `Cases`: one bootstrap that both proxies are started with, and the rows that are tried on it, in order.
struct Scene: Sendable, CustomStringConvertible {
    let name: String
    let config: String
    let rows: [Row]

    var description: String { name }
    var keepsLog: Bool { config.contains("${log}") }

    static let folder =
        Environment["WEFT_ORACLE_CASES"] ?? #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" }
        + "/Cases"

    static var names: [String] {
        ((try? Files.list(folder)) ?? []).filter { Files.isDirectory("\(folder)/\($0)") }.sorted()
    }

    init(_ name: String) throws {
        self.name = name
        config = try Files.readText("\(Self.folder)/\(name)/config.yaml")
        let rows = try YAML.parse(Files.readText("\(Self.folder)/\(name)/rows.yaml"))
        do { self.rows = try (rows.array ?? []).map(Row.init) } catch let error as RowError {
            throw RowError("\(name)/rows.yaml: \(error.description)")
        }
    }

    /// Why weft-proxy does not run this scene as Envoy does yet, from `Cases/pending.yaml`.
    var pending: String? {
        (try? YAML.parse(Files.readText("\(Self.folder)/pending.yaml")))?[name]?.string
    }

    /// The placeholders of a kind in the config, each once, in order: `${in.NAME}` and `${up.NAME}`.
    func placeholders(_ kind: String) -> [String] {
        var found: [String] = []
        var rest = config[...]
        while let start = rest.firstRange(of: "${\(kind).") {
            rest = rest[start.upperBound...]
            guard let end = rest.firstIndex(of: "}") else { break }
            let name = String(rest[..<end])
            if !found.contains(name) { found.append(name) }
        }
        return found
    }
}
