/// The values of an enum.
public final class EnumType: Sendable {
    public let name: String
    /// In the order of the API; some numbers have several names, of which the first one counts.
    let values: [(name: String, number: Int32)]

    init(_ line: SchemaTable.Columns) {
        name = String(line.text(0).dropFirst())
        values = line.text(1).split(separator: ",").map { value in
            let parts = value.split(separator: "=")
            return (String(parts[0]), Int32(parts[1])!)
        }
    }

    /// `google.protobuf.NullValue`, whose one value is null in JSON.
    var isNullValue: Bool { name == "google.protobuf.NullValue" }

    public var valueNames: [String] { values.map(\.name) }

    func number(named name: String) -> Int32? { values.first { $0.name == name }?.number }

    /// As `number(named:)`, in whatever case: Envoy reads its files so.
    func number(inAnyCase name: String) -> Int32? {
        number(named: name) ?? values.first { $0.name.lowercased() == name.lowercased() }?.number
    }

    func name(of number: Int64) -> String? { values.first { Int64($0.number) == number }?.name }
}
