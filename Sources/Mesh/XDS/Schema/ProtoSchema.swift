import Synchronization

/// The messages and enums of Envoy's API, out of one embedded table.
///
/// A program that reads no configuration pays nothing; one that does pays one pass over the table's line ends, and for
/// each message that it meets the reading of that message's own lines. Usable from any thread.
public final class ProtoSchema: Sendable {
    public static let envoy = ProtoSchema(EmbeddedSchema.table)

    private let table: SchemaTable
    private let built: Mutex<Built>
    /// Messages that have a form of their own in JSON, by their number.
    let wellKnown: [Int: WellKnownType]

    private struct Built {
        var messages: [MessageType?]
        var enums: [EnumType?]
    }

    private init(_ text: StaticString) {
        let table = SchemaTable(text)
        self.table = table
        built = Mutex(
            Built(
                messages: Array(repeating: nil, count: table.messages.count),
                enums: Array(repeating: nil, count: table.enums.count)))
        var wellKnown: [Int: WellKnownType] = [:]
        for (name, type) in WellKnownType.byName {
            if let number = table.messageNumber(name) { wellKnown[number] = type }
        }
        self.wellKnown = wellKnown
    }

    /// A message by its full name, as `envoy.config.cluster.v3.Cluster`; nil when there is none.
    public func message(_ name: String) -> MessageType? { table.messageNumber(name).map(message(at:)) }

    /// The names of all messages, sorted.
    public var messageNames: [String] { table.messages.indices.map(table.messageName) }

    func message(at number: Int) -> MessageType {
        // Reading a message takes the numbers of others, never their types, so nothing recurs in here but enums.
        built.withLock { built in
            if let type = built.messages[number] { return type }
            let type = MessageType(table.lines(ofMessage: number), schema: self) { enumNumber in
                if let known = built.enums[enumNumber] { return known }
                let type = EnumType(table.line(ofEnum: enumNumber))
                built.enums[enumNumber] = type
                return type
            }
            built.messages[number] = type
            return type
        }
    }
}

/// Messages that stand for something of their own in JSON.
enum WellKnownType: Sendable {
    case any, duration, timestamp, structure, value, listValue, fieldMask
    case wrapper(ScalarType)

    static let byName: [(String, WellKnownType)] = [
        ("google.protobuf.Any", .any), ("google.protobuf.Duration", .duration),
        ("google.protobuf.Timestamp", .timestamp), ("google.protobuf.Struct", .structure),
        ("google.protobuf.Value", .value), ("google.protobuf.ListValue", .listValue),
        ("google.protobuf.FieldMask", .fieldMask), ("google.protobuf.BoolValue", .wrapper(.bool)),
        ("google.protobuf.Int32Value", .wrapper(.int32)), ("google.protobuf.Int64Value", .wrapper(.int64)),
        ("google.protobuf.UInt32Value", .wrapper(.uint32)), ("google.protobuf.UInt64Value", .wrapper(.uint64)),
        ("google.protobuf.FloatValue", .wrapper(.float)), ("google.protobuf.DoubleValue", .wrapper(.double)),
        ("google.protobuf.StringValue", .wrapper(.string)), ("google.protobuf.BytesValue", .wrapper(.bytes)),
    ]
}
