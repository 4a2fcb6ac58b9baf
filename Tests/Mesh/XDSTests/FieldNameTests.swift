import Reactor
import Testing
import XDS

/// The names that the program's own code asks nodes for, taken from its text: a name that no message has is a typing mistake,
/// also where no test comes by.
@Suite("names of fields in the sources") struct FieldNameTests {
    private static let accessors: Set<String> = [
        "string", "stringIfSet", "bool", "boolIfSet", "uint32", "uint32IfSet", "uint64", "uint64IfSet", "int32",
        "int32IfSet",
        "int64", "int64IfSet", "double", "doubleIfSet", "bytes", "bytesIfSet", "duration", "timestamp", "structure",
        "json",
        "enumeration", "enumName", "strings", "bytesList", "uint32s", "doubles", "enumerations", "stringMap",
        "structureMap",
        "message", "messages", "messageMap", "subtree", "subtrees", "typed", "typedList", "typedMap", "typeNameOfAny",
        "has",
        "unsupported", "ignore",
    ]

    /// `.name("text"` in a source: the accessor and the text.
    private static func calls(in source: String) -> [(accessor: String, name: String)] {
        var found: [(String, String)] = []
        for part in source.split(separator: ".").dropFirst() {
            let accessor = part.prefix { $0.isLetter || $0.isNumber }
            let rest = part.dropFirst(accessor.count)
            guard rest.hasPrefix("(\"") else { continue }
            let text = rest.dropFirst(2)
            // A text that is put together at run time is no field's name.
            guard let end = text.firstIndex(of: "\""), !text[..<end].contains("\\") else { continue }
            found.append((String(accessor), String(text[..<end])))
        }
        return found
    }

    private static func sources(below folder: String) throws -> [String] {
        try Files.list(folder).flatMap { name -> [String] in
            let path = "\(folder)/\(name)"
            if Files.isDirectory(path) { return try sources(below: path) }
            return name.hasSuffix(".swift") ? [path] : []
        }
    }

    @Test("each is a field, and each choice a oneof, of some message") func known() throws {
        let root = #filePath.split(separator: "/").dropLast(4).reduce("") { "\($0)/\($1)" }
        var fields: Set<String> = []
        var oneofs: Set<String> = []
        for name in ProtoSchema.envoy.messageNames {
            guard let type = ProtoSchema.envoy.message(name) else { continue }
            fields.formUnion(type.fieldNames)
            oneofs.formUnion(type.oneofs.map(\.name))
        }
        var checked = 0
        for path in try Self.sources(below: root + "/Sources") {
            let source = try Files.readText(path)
            guard source.contains("import XDS") || path.contains("/Mesh/XDS/Resources") else { continue }
            for (accessor, name) in Self.calls(in: source) {
                if accessor == "choice" {
                    #expect(oneofs.contains(name), "\(path): .choice(\"\(name)\")")
                } else if Self.accessors.contains(accessor) {
                    #expect(fields.contains(name), "\(path): .\(accessor)(\"\(name)\")")
                } else {
                    continue
                }
                checked += 1
            }
        }
        #expect(checked > 50)
    }
}
