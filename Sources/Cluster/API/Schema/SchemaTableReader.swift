/// Reads the embedded tables. They are part of the program, so a malformed row is a defect and traps in the tests.
struct SchemaTableReader {
    var types: [SchemaType] = []
    var fields: [SchemaField] = []
    var typesByName: [String: Int] = [:]

    /// A type's line is `=name`, its fields' lines follow: name, type, number, flags, separated by tabs.
    mutating func readTypes(_ text: StaticString) {
        // Types first, so that fields can refer to any of them.
        Self.forEachLine(text) { columns in
            let name = columns.text(0)
            guard name.first == "=" else { return }
            let type = String(name.dropFirst())
            typesByName[type] = types.count
            types.append(SchemaType(name: type))
        }
        fields.reserveCapacity(2600)
        var current = -1
        var scalars: [Int: String] = [:]
        Self.forEachLine(text) { columns in
            let name = columns.text(0)
            switch name {
            case _ where name.first == "=":
                current += 1
                types[current].fields = fields.count..<fields.count
            case "@kind": types[current].kinds.append(Self.kind(columns.text(1)))
            case "@scalar": scalars[current] = columns.text(1)
            default:
                fields.append(field(name, columns))
                types[current].fields = types[current].fields.lowerBound..<fields.count
            }
        }
        for index in types.indices {
            types[index].scalar = scalars[index]
            // Fields arrive sorted as text of the table; members of objects are sorted by bytes.
            let range = types[index].fields
            fields[range].sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            types[index].wireOrder = range.indices.map { UInt16($0 - range.lowerBound) }
                .filter { fields[range.lowerBound + Int($0)].number != 0 }
                .sorted { wireKey(range.lowerBound + Int($0)) < wireKey(range.lowerBound + Int($1)) }
            types[index].alwaysWrittenLists = range.indices.map { UInt16($0 - range.lowerBound) }
                .filter {
                    let field = fields[range.lowerBound + Int($0)]
                    return field.isAlwaysWritten && field.container == .list && field.name != "items"
                }
        }
    }

    private func wireKey(_ index: Int) -> (UInt16, UInt16, UInt16) {
        let field = fields[index]
        let path = [UInt16(field.carrier), UInt16(field.innerCarrier), field.number].filter { $0 != 0 }
        return (path[0], path.count > 1 ? path[1] : 0, path.count > 2 ? path[2] : 0)
    }

    private func field(_ name: String, _ columns: Columns) -> SchemaField {
        let typeText = columns.text(1)
        var field = SchemaField(
            name: name, shape: .message, container: .single, isRequired: false, isOptional: false,
            isAlwaysWritten: false, isAtomicMap: false, listKind: nil, patchStrategy: [], message: -1, number: 0,
            carrier: 0, innerCarrier: 0, mergeKey: nil, listKeys: [], typeText: typeText)
        var element = typeText[...]
        if element.hasPrefix("map<[") {
            field.container = .mapOfLists
            element = element.dropFirst(5).dropLast(2)
        } else if element.hasPrefix("map<") {
            field.container = .map
            element = element.dropFirst(4).dropLast()
        } else if element.first == "[" {
            field.container = .list
            element = element.dropFirst().dropLast()
        }
        if let shape = Self.shape(of: element) {
            field.shape = shape
        } else if let message = typesByName[String(element)] {
            field.message = Int32(message)
        } else {
            preconditionFailure("the schema's table has no type \(element)")
        }
        let path = columns.text(2).split(separator: ".").compactMap { UInt16($0) }
        field.number = path.last ?? 0
        if path.count > 1 { field.carrier = UInt8(path[0]) }
        if path.count > 2 { field.innerCarrier = UInt8(path[1]) }
        for flag in columns.text(3).split(separator: " ") {
            let parts = flag.split(separator: "=", maxSplits: 1)
            let value = parts.count > 1 ? parts[1] : ""
            switch parts[0] {
            case "R": field.isRequired = true
            case "P": field.isOptional = true
            case "N": field.isAlwaysWritten = true
            case "list": field.listKind = ListKind(rawValue: String(value))
            case "keys": field.listKeys = value.split(separator: ",").map(String.init)
            case "key": field.mergeKey = String(value)
            case "map": field.isAtomicMap = value == "atomic"
            case "patch":
                for strategy in value.split(separator: ",") {
                    switch strategy {
                    case "merge": field.patchStrategy.insert(.merge)
                    case "retainKeys": field.patchStrategy.insert(.retainKeys)
                    case "replace": field.patchStrategy.insert(.replace)
                    default: preconditionFailure("the schema's table has a patch strategy \(strategy)")
                    }
                }
            default: preconditionFailure("the schema's table has a flag \(flag)")
            }
        }
        return field
    }

    private static func shape(of type: Substring) -> SchemaField.Shape? {
        switch type {
        case "string": .string
        case "string/byte": .bytes
        case "boolean": .bool
        case "integer/int32": .int32
        case "integer/int64": .int64
        case "number/double": .double
        case "api.resource.Quantity": .quantity
        case "apis.meta.v1.Time": .time
        case "apis.meta.v1.MicroTime": .microTime
        case "util.intstr.IntOrString": .intOrString
        case "runtime.RawExtension", "apis.meta.v1.FieldsV1": .raw
        case "apiextensions.v1.JSON": .json
        case "apiextensions.v1.JSONSchemaPropsOrBool": .propsOrBool
        case "apiextensions.v1.JSONSchemaPropsOrArray": .propsOrArray
        case "apiextensions.v1.JSONSchemaPropsOrStringArray": .propsOrStrings
        default: nil
        }
    }

    /// `apps/v1/Deployment`; the core group is written out.
    private static func kind(_ text: String) -> GroupVersionKind {
        let parts = text.split(separator: "/")
        precondition(parts.count == 3, "the schema's table has a kind \(text)")
        return GroupVersionKind(
            group: parts[0] == "core" ? "" : String(parts[0]), version: String(parts[1]), kind: String(parts[2]))
    }

    /// Lines are group, version, resource, kind, scope, verbs, subresources(verbs), short names, categories.
    static func readResources(
        _ text: StaticString, typeName: (GroupVersionKind) -> String?
    ) -> [ResourceDescription] {
        var resources: [ResourceDescription] = []
        forEachLine(text) { columns in
            let group = columns.text(0)
            let version = columns.text(1)
            let gvr = GroupVersionResource(group: group, version: version, resource: columns.text(2))
            let gvk = GroupVersionKind(group: group, version: version, kind: columns.text(3))
            guard let type = typeName(gvk) else { preconditionFailure("the schema's table has no type of \(gvk)") }
            // Both names show the same objects; they are kept in the older form, as upstream keeps them.
            let storageKind = group == "events.k8s.io" ? GroupVersionKind(kind: "Event") : gvk
            resources.append(
                ResourceDescription(
                    gvr: gvr, gvk: gvk, singular: gvk.kind.lowercased(), shortNames: columns.words(7),
                    categories: columns.words(8), namespaced: columns.text(4) == "namespaced",
                    verbs: columns.words(5),
                    subresources: columns.text(6).split(separator: " ").map { text in
                        let parts = text.split(whereSeparator: { $0 == "(" || $0 == ")" })
                        return (String(parts[0]), parts[1].split(separator: ",").map(String.init))
                    }, typeName: type, storagePrefix: ResourceDescription.storagePrefix(of: gvr),
                    storageKind: storageKind))
        }
        return resources.sorted { ($0.gvr.group, $0.gvr.resource) < ($1.gvr.group, $1.gvr.resource) }
    }

    /// One line's columns; absent ones are empty.
    private struct Columns {
        var line: UnsafeBufferPointer<UInt8>

        func text(_ column: Int) -> String {
            var start = 0
            var skipped = 0
            while skipped < column {
                guard let tab = line[start...].firstIndex(of: UInt8(ascii: "\t")) else { return "" }
                start = tab + 1
                skipped += 1
            }
            let end = line[start...].firstIndex(of: UInt8(ascii: "\t")) ?? line.endIndex
            return String(decoding: line[start..<end], as: UTF8.self)
        }

        func words(_ column: Int) -> [String] { text(column).split(separator: ",").map(String.init) }
    }

    private static func forEachLine(_ text: StaticString, _ body: (Columns) -> Void) {
        text.withUTF8Buffer { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
                if end > rest.startIndex { body(Columns(line: UnsafeBufferPointer(rebasing: rest[..<end]))) }
                rest = rest[min(end + 1, rest.endIndex)...]
            }
        }
    }
}
