/// Reads the embedded tables. They are part of the program, so a malformed row is a defect and traps in the tests.
struct SchemaTableReader {
    var types: [SchemaType] = []
    var codes: [TypeCode] = []
    var fields: [SchemaField] = []
    var wireOrder: [UInt16] = []
    var alwaysWrittenLists: [UInt16] = []
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
        var starts: [Int] = []
        Self.forEachLine(text) { columns in
            let name = columns.text(0)
            switch name {
            case _ where name.first == "=": starts.append(fields.count)
            case "@kind": types[starts.count - 1].kinds.append(Self.kind(columns.text(1)))
            case "@scalar": types[starts.count - 1].scalar = columns.text(1)
            default: fields.append(field(name, columns))
            }
        }
        starts.append(fields.count)
        for index in types.indices {
            let range = starts[index]..<starts[index + 1]
            // Fields arrive sorted as text of the table; members of objects are sorted by bytes.
            fields[range].sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            for field in range { fields[field].code.index = Int32(field) }
            let order = wireOrder.count
            wireOrder += range.filter { fields[$0].code.number != 0 }.sorted { wireKey($0) < wireKey($1) }
                .map { UInt16($0 - range.lowerBound) }
            let lists = alwaysWrittenLists.count
            alwaysWrittenLists += range.filter {
                fields[$0].code.isAlwaysWritten && fields[$0].code.container == .list && fields[$0].name != "items"
            }.map { UInt16($0 - range.lowerBound) }
            codes.append(
                TypeCode(
                    fields: range, wireOrder: order..<wireOrder.count,
                    alwaysWrittenLists: lists..<alwaysWrittenLists.count))
        }
    }

    private func wireKey(_ index: Int) -> (UInt16, UInt16, UInt16) {
        let field = fields[index].code
        let path = [UInt16(field.carrier), UInt16(field.innerCarrier), field.number].filter { $0 != 0 }
        return (path[0], path.count > 1 ? path[1] : 0, path.count > 2 ? path[2] : 0)
    }

    private func field(_ name: String, _ columns: Columns) -> SchemaField {
        let typeText = columns.text(1)
        var code = FieldCode(shape: .message, container: .single, index: 0)
        var element = typeText[...]
        if element.hasPrefix("map<[") {
            code.container = .mapOfLists
            element = element.dropFirst(5).dropLast(2)
        } else if element.hasPrefix("map<") {
            code.container = .map
            element = element.dropFirst(4).dropLast()
        } else if element.first == "[" {
            code.container = .list
            element = element.dropFirst().dropLast()
        }
        if let shape = Self.shape(of: element) {
            code.shape = shape
        } else if let message = typesByName[String(element)] {
            code.message = Int32(message)
        } else {
            preconditionFailure("the schema's table has no type \(element)")
        }
        let path = columns.text(2).split(separator: ".").compactMap { UInt16($0) }
        code.number = path.last ?? 0
        if path.count > 1 { code.carrier = UInt8(path[0]) }
        if path.count > 2 { code.innerCarrier = UInt8(path[1]) }
        var field = SchemaField(name: name, code: code, typeText: typeText)
        for flag in columns.text(3).split(separator: " ") {
            let parts = flag.split(separator: "=", maxSplits: 1)
            let value = parts.count > 1 ? parts[1] : ""
            switch parts[0] {
            case "R": field.code.isRequired = true
            case "P": field.code.isOptional = true
            case "N": field.code.isAlwaysWritten = true
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

    private static func shape(of type: Substring) -> FieldCode.Shape? {
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

    /// Lines are group, version, resource, kind, scope, verbs, subresources(verbs), short names, categories,
    /// and the version that objects are kept in where it is another.
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
            // Two names of events and two versions of routes show the same objects; they are kept in one form.
            var storageKind = group == "events.k8s.io" ? GroupVersionKind(kind: "Event") : gvk
            let storageVersion = columns.text(9)
            if !storageVersion.isEmpty { storageKind.version = storageVersion }
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
        return resources.sorted {
            ($0.gvr.group, $0.gvr.resource, $0.gvr.version) < ($1.gvr.group, $1.gvr.resource, $1.gvr.version)
        }
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
