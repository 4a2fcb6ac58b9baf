import Bytes
import JSON

/// How a call and its reply travel between `weft-cni` and the daemon: four bytes of length, big-endian, then that many bytes of
/// JSON. One of each a connection.
enum CNIFrame {
    /// A configuration may be as large as `CNICall.maximumConfiguration`, and JSON's escapes make it larger.
    static let maximumLength = 8 << 20
    static let headerSize = 4

    static func write(_ json: JSONValue) -> [UInt8] {
        let text = json.encoded()
        let length = UInt32(truncatingIfNeeded: text.count)
        return withUnsafeBytes(of: length.bigEndian) { Array($0) } + text
    }

    enum Progress {
        case incomplete
        case malformed
        case complete(JSONValue)
    }

    static func read(_ bytes: UnsafeRawBufferPointer) -> Progress {
        guard bytes.count >= headerSize else { return .incomplete }
        let length = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        guard length <= maximumLength else { return .malformed }
        guard bytes.count - headerSize >= length else { return .incomplete }
        let text = UnsafeRawBufferPointer(rebasing: bytes[headerSize..<(headerSize + length)])
        guard let json = try? JSONValue.parse(text) else { return .malformed }
        return .complete(json)
    }
}

extension CNICall {
    var json: JSONValue {
        [
            "command": .string(command), "containerID": .string(containerID), "netns": .string(namespacePath),
            "interface": .string(interface), "arguments": .string(arguments),
            "configuration": .string(String(decoding: configuration, as: UTF8.self)),
        ]
    }

    init?(json: JSONValue) {
        guard let command = json["command"]?.string, let configuration = json["configuration"]?.string else {
            return nil
        }
        self.init(
            command: command, containerID: json["containerID"]?.string ?? "",
            namespacePath: json["netns"]?.string ?? "", interface: json["interface"]?.string ?? "",
            arguments: json["arguments"]?.string ?? "", configuration: Array(configuration.utf8))
    }
}

extension CNIReply {
    var json: JSONValue {
        ["succeeded": .bool(succeeded), "output": .string(String(decoding: output, as: UTF8.self))]
    }

    init?(json: JSONValue) {
        guard let succeeded = json["succeeded"]?.bool, let output = json["output"]?.string else { return nil }
        self.init(output: Array(output.utf8), succeeded: succeeded)
    }
}
