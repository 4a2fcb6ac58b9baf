public import Bytes

extension NFExpression {
    /// What `ip saddr PREFIX` and the like come to: an address field of the packet, masked, beside the prefix. Uses register 0.
    public static func match(_ field: Payload, _ comparison: Comparison, _ prefix: CIDR) -> [NFExpression] {
        let mask = (0..<prefix.address.bytes.count).map { index in
            let bits = min(8, max(0, Int(prefix.prefixLength) - index * 8))
            return UInt8(truncatingIfNeeded: 0xFF00 >> bits)
        }
        return [
            .payload(field, into: 0), .bitwise(from: 0, into: 0, mask: mask, xor: mask.map { _ in 0 }),
            .compare(0, comparison, prefix.network.address.bytes),
        ]
    }
}
