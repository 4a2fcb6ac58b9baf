import Bytes

// Messages that are built and read by hand, because what they are for is the same for all: those of the discovery protocol.
extension Message {
    /// A type that the schema certainly has.
    static func type(_ name: String) -> MessageType {
        guard let type = ProtoSchema.envoy.message(name) else { preconditionFailure("the schema has no \(name)") }
        return type
    }

    mutating func set(_ name: String, _ value: FieldValue) {
        guard let position = type.position(named: name) else { preconditionFailure("\(type.name) has no \(name)") }
        self[position] = value
    }

    mutating func set(_ name: String, strings: some Sequence<String>) {
        let list = strings.map { FieldValue.string($0) }
        if !list.isEmpty { set(name, .list(list)) }
    }

    func text(_ name: String) -> String {
        if case .string(let text)? = value(name) { text } else { "" }
    }

    func list(_ name: String) -> [FieldValue] {
        if case .list(let list)? = value(name) { list } else { [] }
    }

    func texts(_ name: String) -> [String] {
        list(name).compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    func submessage(_ name: String) -> Message? {
        if case .message(let message)? = value(name) { message } else { nil }
    }
}
