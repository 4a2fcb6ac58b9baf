/// A field as the codecs use it: everything resolved to small integers.
struct SchemaField {
    /// What one value of the field is.
    enum Shape: UInt8 {
        case string, bytes, bool, int32, int64, double
        case quantity, time, microTime, intOrString
        /// Any JSON object, kept as its text: `RawExtension`, and `FieldsV1` alike.
        case raw
        /// Any JSON value, kept as its text.
        case json
        /// `JSONSchemaProps` in one of the shapes that CRDs allow beside the plain one.
        case propsOrBool, propsOrArray, propsOrStrings
        /// A message of the schema.
        case message
    }

    /// How many values, and how they are held.
    enum Container: UInt8 {
        case single, list, map
        /// `map<[string]>`: lists of strings by key.
        case mapOfLists
    }

    var name: String
    var shape: Shape
    var container: Container
    var isRequired: Bool
    /// A pointer in the Go types: a zero on the wire is a value that somebody set.
    var isOptional: Bool
    /// No `omitempty` in the Go types: clients may rely on the field being there.
    var isAlwaysWritten: Bool
    var isAtomicMap: Bool
    var listKind: ListKind?
    var patchStrategy: PatchStrategy
    /// Index of the message type among the schema's types; -1 for all other shapes.
    var message: Int32
    /// 0 where protobuf does not carry the field.
    var number: UInt16
    /// The field numbers of the embedded messages around it, outermost first; 0 where there is none.
    var carrier: UInt8
    var innerCarrier: UInt8
    var mergeKey: String?
    var listKeys: [String]
    /// The text of the field's type in the table: descriptions for OpenAPI are made from it when they are asked for.
    var typeText: String
}

/// A type as the codecs use it.
struct SchemaType {
    var name: String
    var kinds: [GroupVersionKind] = []
    /// Set for types that are scalars.
    var scalar: String?
    /// Its fields in `Schema.fields`, sorted by name's bytes as the members of a `JSONObject` are.
    var fields: Range<Int> = 0..<0
    /// The same fields in the order of the wire, by offset into `fields`.
    var wireOrder: [UInt16] = []
    /// The lists that must be written also when they are empty, by offset into `fields`.
    var alwaysWrittenLists: [UInt16] = []
}
