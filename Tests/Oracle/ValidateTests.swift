import Glibc
import JSON
import Reactor
import Testing
import YAML

@Suite("Proxy oracle, validate", .enabled(if: Contestants.areThere, Contestants.absence))
struct ValidateTests {
    @Test("--mode validate accepts and refuses what Envoy does", arguments: [ValidateTable.file])
    func table(_ file: String) async throws {
        let contestants = try await Contestants.find()
        let table = try ValidateTable(file)
        let group = try EventLoopGroup(count: 1, name: "validate")
        let loop = group.all[0]
        let folder = "\(temporaryFolder)/weft-oracle-\(getpid())-validate"
        try Files.makeDirectories(folder)
        for row in table.rows {
            let path = "\(folder)/config.json"
            try Files.writeAtomically(path, row.bootstrap.encodedString())
            let (oracle, subject) = try await loop.perform {
                let oracle = try await contestants.oracle.validates(path, on: loop)
                return (oracle, try await contestants.subject.validates(path, on: loop))
            }
            if Contestants.showsAll { print("\(oracle.accepted ? "accepted" : "refused "): \(row.name)") }
            func report() {
                let expected = oracle.accepted && (!row.isStricter || Contestants.provesItself)
                guard subject.accepted != expected else { return }
                Issue.record(
                    """
                    validate: \(row.name): Envoy \(oracle.accepted ? "accepts" : "refuses") it, weft-proxy \
                    \(subject.accepted ? "accepts" : "refuses") it\(row.isStricter ? ", and must not" : "")
                    Envoy: \(oracle.text.suffix(600))
                    weft-proxy: \(subject.text.suffix(600))
                    """)
            }
            if let pending = row.pending, !Contestants.provesItself {
                withKnownIssue("validate: \(row.name): \(pending)") { report() }
            } else {
                report()
            }
        }
        try? Files.removeTree(folder)
        await group.shutdown()
    }
}

/// `Cases/validate.yaml`: a bootstrap and changes to it.
struct ValidateTable {
    static let file = "\(Scene.folder)/validate.yaml"

    struct Row {
        var name: String
        var bootstrap: JSONValue
        var pending: String?
        var isStricter = false
    }

    let rows: [Row]

    init(_ file: String) throws {
        let page = try YAML.parse(Files.readText(file))
        guard let base = page["base"], let list = page["rows"]?.array else {
            throw RowError("\(file): no base or no rows")
        }
        let shorthand = (page["paths"]?.object ?? [:]).map { ("${\($0.key)}", $0.value.string ?? "") }
        rows = try list.map { row in
            guard let name = row["name"]?.string else { throw RowError("\(file): a row has no name") }
            var bootstrap = base
            for (path, value) in row["set"]?.object ?? [:] {
                let path = shorthand.reduce(path) { $0.replacing($1.0, with: $1.1) }
                let steps = path.split(separator: ".").map(String.init)
                guard Self.set(&bootstrap, steps[...], value) else { throw RowError("\(name): no path \(path)") }
            }
            return Row(
                name: name, bootstrap: bootstrap, pending: row["pending"]?.string, isStricter: row["stricter"] != nil)
        }
    }

    private static func set(_ value: inout JSONValue, _ path: ArraySlice<String>, _ new: JSONValue) -> Bool {
        guard let step = path.first else {
            value = new
            return true
        }
        if var elements = value.array {
            if step == "-" {
                elements.append(.null)
            }
            guard let index = step == "-" ? elements.count - 1 : Int(step), elements.indices.contains(index),
                set(&elements[index], path.dropFirst(), new)
            else { return false }
            value = .array(elements)
            return true
        }
        guard var members = value.object else { return false }
        var member = members[step] ?? .null
        if path.count == 1, new.isNull {
            members[step] = nil
        } else {
            guard set(&member, path.dropFirst(), new) else { return false }
            members[step] = member
        }
        value = .object(members)
        return true
    }
}
