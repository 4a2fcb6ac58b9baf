/// Every kind that is served: its types, its fields and where it is kept. All codecs, patches and documents of the
/// API are driven by it, so a new kind is rows of a table (`Tools/kube-schema`).
///
/// Immutable; safe from any thread.
public final class Schema: Sendable {
    /// The kinds of Kubernetes, read once from the tables within the program.
    public static let shared = Schema(types: EmbeddedSchema.types, resources: EmbeddedSchema.resources)

    /// All resources, sorted by group and name.
    public let resources: [ResourceDescription]

    let table: [SchemaType]
    let fields: [SchemaField]
    /// Beside `table` and `fields`, index by index, for the codecs.
    let typeCodes: [TypeCode]
    let fieldCodes: [FieldCode]
    let fieldNames: [String]
    let wireOrder: [UInt16]
    let alwaysWrittenLists: [UInt16]
    private let typesByName: [String: Int]
    private let typesByKind: [GroupVersionKind: Int]
    private let resourcesByGVR: [GroupVersionResource: Int]
    private let resourcesByGVK: [GroupVersionKind: Int]

    private init(types: StaticString, resources: StaticString) {
        var reader = SchemaTableReader()
        reader.readTypes(types)
        table = reader.types
        fields = reader.fields
        typeCodes = reader.codes
        fieldCodes = fields.map(\.code)
        fieldNames = fields.map(\.name)
        wireOrder = reader.wireOrder
        alwaysWrittenLists = reader.alwaysWrittenLists
        typesByName = reader.typesByName
        var byKind: [GroupVersionKind: Int] = [:]
        for (index, type) in table.enumerated() {
            for kind in type.kinds { byKind[kind] = index }
        }
        typesByKind = byKind
        self.resources = SchemaTableReader.readResources(resources) { kind in
            byKind[kind].map { reader.types[$0].name }
        }
        var byGVR: [GroupVersionResource: Int] = [:]
        var byGVK: [GroupVersionKind: Int] = [:]
        for (index, resource) in self.resources.enumerated() {
            byGVR[resource.gvr] = index
            byGVK[resource.gvk] = index
        }
        resourcesByGVR = byGVR
        resourcesByGVK = byGVK
    }

    public func resource(_ gvr: GroupVersionResource) -> ResourceDescription? {
        resourcesByGVR[gvr].map { resources[$0] }
    }

    /// The resource whose objects are of a kind; nil for kinds that are no resource (`Scale`, `PodList`).
    public func resource(for gvk: GroupVersionKind) -> ResourceDescription? {
        resourcesByGVK[gvk].map { resources[$0] }
    }

    /// The name of the type of a kind, lists and options included.
    public func typeName(of gvk: GroupVersionKind) -> String? { typeIndex(of: gvk).map { table[$0].name } }

    /// A type by its name.
    public func type(_ name: String) -> TypeDescription? { typesByName[name].map(description(of:)) }

    /// All types, sorted by name. Made on each call; for documents, not for codecs.
    public var types: [TypeDescription] { table.indices.map(description(of:)) }

    // MARK: For the codecs

    func name(of field: FieldCode) -> String { fieldNames[Int(field.index)] }

    func typeIndex(named name: String) -> Int? { typesByName[name] }

    /// Clients send `DeleteOptions`, `Status` and their like under the version of whatever group they talk to.
    func typeIndex(of gvk: GroupVersionKind) -> Int? {
        typesByKind[gvk]
            ?? typesByKind[GroupVersionKind(kind: gvk.kind)].flatMap { index in
                table[index].name.hasPrefix("apis.meta.v1.") ? index : nil
            }
    }

    /// A field of a type by its name, by halving.
    func field(_ name: String, of type: Int) -> SchemaField? {
        var (low, high) = (typeCodes[type].fields.lowerBound, typeCodes[type].fields.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if fields[middle].name == name { return fields[middle] }
            if fields[middle].name.utf8.lexicographicallyPrecedes(name.utf8) { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    private func description(of index: Int) -> TypeDescription {
        let type = table[index]
        return TypeDescription(
            name: type.name, kinds: type.kinds, scalar: type.scalar,
            fields: fields[typeCodes[index].fields].map(\.description))
    }
}

extension SchemaField {
    fileprivate var description: FieldDescription {
        FieldDescription(
            name: name, type: FieldType(text: typeText[...]), required: code.isRequired,
            protobufPath: [Int(code.carrier), Int(code.innerCarrier), Int(code.number)].filter { $0 != 0 },
            isOptional: code.isOptional,
            listKind: listKind, listMapKeys: listKeys, isAtomicMap: isAtomicMap, patchStrategy: patchStrategy,
            patchMergeKey: mergeKey)
    }
}

extension FieldType {
    /// `[x]` is a list, `map<x>` a map, a name with a dot a type, all else a scalar.
    init(text: Substring) {
        if text.first == "[" {
            self = .list(FieldType(text: text.dropFirst().dropLast()))
        } else if text.hasPrefix("map<") {
            self = .map(FieldType(text: text.dropFirst(4).dropLast()))
        } else if text.contains(".") {
            self = .reference(String(text))
        } else {
            self = .scalar(String(text))
        }
    }
}
