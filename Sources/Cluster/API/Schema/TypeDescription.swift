/// What may stand in a field, in the words of OpenAPI.
public indirect enum FieldType: Hashable, Sendable {
    /// `string`, `boolean`, `integer/int32`, `integer/int64`, `number/double`, `string/byte`, `string/date-time`,
    /// `string/int-or-string`, `object` or `any`.
    case scalar(String)
    /// The name of a type of the schema, as `core.v1.PodSpec`.
    case reference(String)
    case list(FieldType)
    /// An object with free keys.
    case map(FieldType)
}

/// Whose order and identity a list's elements have under apply.
public enum ListKind: String, Hashable, Sendable {
    /// Replaced as a whole.
    case atomic
    /// Scalars without order.
    case set
    /// Objects that are told apart by their key fields.
    case map
}

/// How a strategic merge patch treats a field.
public struct PatchStrategy: OptionSet, Hashable, Sendable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Lists merge element by element instead of being replaced.
    public static let merge = PatchStrategy(rawValue: 1)
    /// A patch may name the keys that are to stay; all others go.
    public static let retainKeys = PatchStrategy(rawValue: 2)
    public static let replace = PatchStrategy(rawValue: 4)
}

/// One field of a type.
public struct FieldDescription: Hashable, Sendable {
    public var name: String
    public var type: FieldType
    public var required: Bool
    /// Field numbers from the outside in; more than one where the field lives in an embedded message that JSON does
    /// not show. Empty where protobuf does not carry the field (`kind`, `apiVersion`).
    public var protobufPath: [Int]
    /// Whether absence and the zero value are different things.
    public var isOptional: Bool
    public var listKind: ListKind?
    /// The fields that identify an element of a `map` list.
    public var listMapKeys: [String]
    /// Whether a map or object is replaced as a whole under apply.
    public var isAtomicMap: Bool
    public var patchStrategy: PatchStrategy
    /// The field that a strategic merge patch finds list elements by.
    public var patchMergeKey: String?
}

/// One type of the schema: an object with fields, or a scalar with a name of its own (`Quantity`, `Time`).
public struct TypeDescription: Hashable, Sendable {
    /// As `core.v1.Pod` or `apis.meta.v1.ObjectMeta`.
    public var name: String
    /// The kinds that objects of this type bear; empty for parts of objects.
    public var kinds: [GroupVersionKind]
    /// Set for scalars, in the words of `FieldType.scalar`.
    public var scalar: String?
    public var fields: [FieldDescription]
}
