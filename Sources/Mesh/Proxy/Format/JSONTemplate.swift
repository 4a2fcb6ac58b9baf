import JSON
import TLS

/// A JSON object with command operators in its texts, compiled once. A text that is one operator keeps the operator's type:
/// numbers stay numbers, and what is not there is null.
package struct JSONTemplate: Sendable {
    private indirect enum Node: Sendable {
        case constant([UInt8])
        case value(Operator, maximum: Int?)
        case text(Template)
        /// Sorted by key, which is in JSON's form.
        case object([(key: [UInt8], value: Node)])
        case list([Node])
    }

    private let root: Node
    private let omitsEmpty: Bool

    init(_ object: JSONObject, omitsEmpty: Bool) throws(OperatorParser.Invalid) {
        root = try Self.compile(.object(object), omitsEmpty)
        self.omitsEmpty = omitsEmpty
    }

    private static func compile(_ value: JSONValue, _ omitsEmpty: Bool) throws(OperatorParser.Invalid) -> Node {
        switch value {
        case .string(let text):
            let template = try Template(text, absent: omitsEmpty ? "" : "-")
            if template.pieces.count == 1, case .value(let operation, let maximum) = template.pieces[0] {
                return .value(operation, maximum: maximum)
            }
            return .text(template)
        case .object(let object):
            var members: [(key: [UInt8], value: Node)] = []
            for key in object.keys.sorted() {
                guard let member = object[key] else { continue }
                members.append((Array(JSONValue.string(key).encodedString().utf8), try compile(member, omitsEmpty)))
            }
            return .object(members)
        case .array(let elements):
            var nodes: [Node] = []
            for element in elements { nodes.append(try compile(element, omitsEmpty)) }
            return .list(nodes)
        default: return .constant(Array(value.encodedString().utf8))
        }
    }

    /// Appends one line.
    func render(_ stream: HTTPStream, into output: inout GrowingBytes) {
        render(root, stream, &output)
        output.append("\n")
    }

    private func render(_ node: Node, _ stream: HTTPStream, _ output: inout GrowingBytes) {
        switch node {
        case .constant(let bytes): bytes.withUnsafeBytes { output.append($0) }
        case .value(let operation, let maximum):
            if !renderValue(operation, maximum, stream, &output) { output.append("null") }
        case .text(let template):
            var text = GrowingBytes()
            template.render(stream, into: &text)
            output.append(jsonString: text.bytes)
            text.deallocate()
        case .list(let nodes):
            output.append("[")
            for (index, element) in nodes.enumerated() {
                if index > 0 { output.append(",") }
                render(element, stream, &output)
            }
            output.append("]")
        case .object(let members):
            output.append("{")
            var isFirst = true
            for (key, value) in members {
                let start = output.count
                if !isFirst { output.append(",") }
                key.withUnsafeBytes { output.append($0) }
                output.append(":")
                if omitsEmpty, case .value(let operation, let maximum) = value {
                    guard renderValue(operation, maximum, stream, &output) else {
                        output.removeLast(output.count - start)
                        continue
                    }
                } else {
                    render(value, stream, &output)
                }
                isFirst = false
            }
            output.append("}")
        }
    }

    private func renderValue(
        _ operation: Operator, _ maximum: Int?, _ stream: HTTPStream, _ output: inout GrowingBytes
    ) -> Bool {
        if operation.isNumber { return operation.render(stream, into: &output) }
        var text = GrowingBytes()
        defer { text.deallocate() }
        guard operation.render(stream, into: &text) else { return false }
        if case .metadata(let namespace, let path) = operation {
            // What metadata hold keeps its own form.
            if let json = stream.metadata?.json(namespace, path) {
                output.append(utf8: json.encodedString())
                return true
            }
        }
        let shown = maximum.map { UnsafeRawBufferPointer(rebasing: text.bytes.prefix($0)) } ?? text.bytes
        output.append(jsonString: shown)
        return true
    }
}

extension GrowingBytes {
    /// Appends text as a JSON string (RFC 8259 §7). Bytes that are no UTF-8 are replaced.
    mutating func append(jsonString bytes: UnsafeRawBufferPointer) {
        append(utf8: JSONValue.string(String(decoding: bytes, as: UTF8.self)).encodedString())
    }
}
