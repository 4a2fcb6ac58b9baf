import Bytes
import XDS

/// A list of prefixes (`envoy.type.matcher.v3.AddressMatcher`, and lists of `CidrRange`).
struct AddressRanges: Sendable {
    private let prefixes: PrefixTable<Bool>
    let inverts: Bool

    init(_ prefixes: [CIDR], inverts: Bool = false) {
        self.prefixes = PrefixTable(prefixes: prefixes)
        self.inverts = inverts
    }

    func contains(_ address: IPAddress) -> Bool { prefixes.contains(address) != inverts }

    /// - Parameter text: an address as text; what is none lies in no range.
    func contains(_ text: UnsafeRawBufferPointer) -> Bool { IPAddress(utf8: text).map(contains) ?? false }
}

extension AddressRanges {
    /// An `envoy.type.matcher.v3.AddressMatcher`.
    init(_ node: ConfigNode) throws(ConfigError) {
        self.init(try node.messages("ranges", CIDR.init), inverts: node.bool("invert_match"))
    }
}
