/// A path's query as its parameters stand there: nothing is decoded, as Envoy's matchers and descriptors have it.
enum QueryString {
    /// The value of the first parameter of this name, empty where it has no `=`; nil when it is not there.
    static func value(of name: [UInt8], in path: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        var rest = path[(mark + 1)...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "&")) ?? rest.endIndex
            let parameter = rest[..<end]
            let equals = parameter.firstIndex(of: UInt8(ascii: "=")) ?? parameter.endIndex
            if parameter[..<equals].elementsEqual(name) {
                let value = equals < parameter.endIndex ? parameter[(equals + 1)...] : parameter[equals...]
                return UnsafeRawBufferPointer(rebasing: value)
            }
            rest = end < rest.endIndex ? rest[(end + 1)...] : rest[end...]
        }
        return nil
    }
}
