/// What the codecs must know of a field, in a few bytes that are copied without counting references.
struct FieldCode {
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

    var shape: Shape
    var container: Container
    var isRequired = false
    /// A pointer in the Go types: a zero on the wire is a value that somebody set.
    var isOptional = false
    /// No `omitempty` in the Go types: clients may rely on the field being there.
    var isAlwaysWritten = false
    /// The field numbers of the embedded messages around it, outermost first; 0 where there is none.
    var carrier: UInt8 = 0
    var innerCarrier: UInt8 = 0
    /// 0 where protobuf does not carry the field.
    var number: UInt16 = 0
    /// Index of the message type among the schema's types; -1 for all other shapes.
    var message: Int32 = -1
    /// Index of the field among the schema's fields.
    var index: Int32

    /// Whether a zero stands for something, and is kept.
    var keepsZero: Bool { isOptional || isAlwaysWritten }
}

/// The rest of a field: for patches and documents.
struct SchemaField {
    var name: String
    var code: FieldCode
    var isAtomicMap = false
    var listKind: ListKind?
    var patchStrategy: PatchStrategy = []
    var mergeKey: String?
    var listKeys: [String] = []
    /// The field's type in the words of the table: descriptions for OpenAPI are made from it when they are asked for.
    var typeText: String
}

/// What the codecs must know of a type: where its fields are in the schema's arrays.
struct TypeCode {
    /// Sorted by name's bytes, as the members of a `JSONObject` are.
    var fields: Range<Int>
    /// The fields in the order of the wire, in `Schema.wireOrder`; what stands there are offsets into `fields`.
    var wireOrder: Range<Int>
    /// The lists that must be written also when they are empty, in `Schema.alwaysWrittenLists`, as offsets likewise.
    var alwaysWrittenLists: Range<Int>
}

/// The rest of a type.
struct SchemaType {
    var name: String
    var kinds: [GroupVersionKind] = []
    /// Set for types that are scalars.
    var scalar: String?
}
