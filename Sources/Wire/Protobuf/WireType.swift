/// How a field's value is delimited.
public enum WireType: UInt8, Sendable {
    case varint = 0
    case fixed64 = 1
    case bytes = 2
    case group = 3
    case endGroup = 4
    case fixed32 = 5
}
