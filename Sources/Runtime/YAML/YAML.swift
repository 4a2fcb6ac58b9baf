// YAML text to JSON values and back, over Yams. The only room that sees Yams, because it brings Foundation with it.

public import JSON
import Yams

/// YAML 1.2 documents as Kubernetes reads them: the JSON schema plus YAML 1.1's plain booleans for `true` and `false` only.
public enum YAML {
    /// Characters of input at most: the API's own limit for a request body.
    public static let inputLimit = 3 << 20
    /// Nodes of a document after aliases are expanded; a small text must not become a big value ("billion laughs").
    public static let nodeLimit = 1_000_000
    /// Levels of nesting at most.
    public static let depthLimit = 128

    /// Every document of a stream, empty ones left out.
    public static func parseAll(_ text: String) throws(YAMLError) -> [JSONValue] {
        guard text.utf8.count <= inputLimit else { throw YAMLError("YAML is longer than \(inputLimit) bytes") }
        var values: [JSONValue] = []
        do {
            var nodes = try Yams.compose_all(yaml: text)
            while let node = nodes.next() {
                var budget = nodeLimit
                let value = try convert(node, depth: 0, budget: &budget)
                if value != .null { values.append(value) }
            }
            // The sequence ends at the first error and keeps it.
            if let error = nodes.error { throw error }
        } catch let error as YAMLError {
            throw error
        } catch {
            throw YAMLError("\(error)")
        }
        return values
    }

    /// The one document of a text.
    public static func parse(_ text: String) throws(YAMLError) -> JSONValue {
        let documents = try parseAll(text)
        guard documents.count == 1 else { throw YAMLError("expected one YAML document, found \(documents.count)") }
        return documents[0]
    }

    /// Block style text, keys in the value's order.
    public static func text(_ value: JSONValue) throws(YAMLError) -> String {
        do {
            return try Yams.serialize(node: node(value), width: -1, allowUnicode: true)
        } catch {
            throw YAMLError("\(error)")
        }
    }

    private static func convert(_ node: Node, depth: Int, budget: inout Int) throws(YAMLError) -> JSONValue {
        budget -= 1
        guard budget > 0, depth < depthLimit else {
            throw YAMLError("\(place(node))the document is nested or repeated beyond what is reasonable")
        }
        switch node {
        case .scalar(let scalar): return Scalar.value(scalar)
        case .sequence(let sequence):
            var array: [JSONValue] = []
            array.reserveCapacity(sequence.count)
            for item in sequence { array.append(try convert(item, depth: depth + 1, budget: &budget)) }
            return .array(array)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping {
                guard case .scalar(let name) = key else {
                    throw YAMLError("\(place(key))a mapping's key must be a plain word")
                }
                guard object[name.string] == nil else {
                    throw YAMLError("\(place(key))key \"\(name.string)\" is there twice")
                }
                object[name.string] = try convert(value, depth: depth + 1, budget: &budget)
            }
            return .object(object)
        case .alias:
            throw YAMLError("\(place(node))an alias without its anchor")
        }
    }

    private static func place(_ node: Node) -> String {
        guard let mark = node.mark else { return "" }
        return "line \(mark.line): "
    }

    private static func node(_ value: JSONValue) -> Node {
        switch value {
        case .null: Node("null", Tag(.null))
        case .bool(let bool): Node(bool ? "true" : "false", Tag(.bool))
        case .int(let int): Node(String(int), Tag(.int))
        case .double(let double): Node("\(double)", Tag(.float))
        case .string(let string):
            // Text that would be read back as something else must stand in quotes.
            Node(
                string, Tag(.str),
                Scalar.isPlainString(string) ? (string.contains("\n") ? .literal : .any) : .doubleQuoted)
        case .array(let array): Node(array.map(node), Tag(.seq), array.isEmpty ? .flow : .block)
        case .object(let object):
            Node(object.map { (Node($0.key), node($0.value)) }, Tag(.map), object.isEmpty ? .flow : .block)
        }
    }
}

/// Why a YAML text cannot be read, with the line where it is known.
public struct YAMLError: Error, CustomStringConvertible, Sendable {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// How untagged scalars become values.
private enum Scalar {
    static func value(_ scalar: Node.Scalar) -> JSONValue {
        guard scalar.style == .plain || scalar.style == .any, scalar.tag != Tag(.str) else {
            return .string(scalar.string)
        }
        return plain(scalar.string)
    }

    static func isPlainString(_ text: String) -> Bool {
        if text.contains("\n") { return true }
        guard case .string = plain(text), let first = text.utf8.first, let last = text.utf8.last else { return false }
        let edges: Set<UInt8> = Set(" !&*-?|>@`\"'%#{}[],:=~".utf8)
        return !edges.contains(first) && last != UInt8(ascii: " ") && last != UInt8(ascii: ":")
            && !text.contains(": ") && !text.contains(" #") && !yaml11Words.contains(text.lowercased())
    }

    /// Words that older readers take for booleans: always quoted when written, never read as such.
    static let yaml11Words: Set<String> = ["y", "n", "yes", "no", "on", "off"]

    static func plain(_ text: String) -> JSONValue {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        guard let first = text.utf8.first else { return .string(text) }
        let startsNumber =
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
            || first == UInt8(ascii: "-") || first == UInt8(ascii: "+") || first == UInt8(ascii: ".")
        guard startsNumber else { return .string(text) }
        if let int = Int64(text) { return .int(int) }
        if text.hasPrefix("0x"), let int = Int64(text.dropFirst(2), radix: 16) { return .int(int) }
        if text.hasPrefix("0o"), let int = Int64(text.dropFirst(2), radix: 8) { return .int(int) }
        let isDecimal = text.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) }
        if isDecimal, text.utf8.contains(where: { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let double = Double(text), double.isFinite
        {
            return .double(double)
        }
        return .string(text)
    }
}
