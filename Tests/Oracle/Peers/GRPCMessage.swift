import JSON
import XDS

extension HTTP2Stream {
    /// As `lines`; a message that the proxy sends to a service of its own is shown field by field in place of the body.
    var readableLines: [String] {
        let lines = lines
        guard let path = heads.first?.first(where: { $0.name == ":path" })?.value,
            let name = GRPCMessage.requests[path], let type = ProtoSchema.envoy.message(name), body.count >= 5,
            let message = try? Message(binary: Array(body[5...]), type: type)
        else { return lines }
        return lines.flatMap { line in
            line.hasPrefix("  body ") ? GRPCMessage.lines("", message.json()) : [line]
        }
    }
}

enum GRPCMessage {
    /// Of which methods requests are known, and as what.
    static let requests = [
        "/envoy.service.auth.v3.Authorization/Check": "envoy.service.auth.v3.CheckRequest"
    ]

    /// One line a value, `path:value`, so that rows can pass over some and ports are seen as ports.
    static func lines(_ path: String, _ value: JSONValue) -> [String] {
        switch value {
        case .object(let object):
            return object.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }.flatMap { key, value in
                lines(path.isEmpty ? key : "\(path).\(key)", value)
            }
        case .array(let elements):
            return elements.enumerated().flatMap { index, value in lines("\(path)[\(index)]", value) }
        case .string(let text): return ["    \(path):\(text)"]
        default: return ["    \(path):\(value.encodedString())"]
        }
    }
}
