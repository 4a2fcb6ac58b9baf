import Protobuf

/// An `envoy.service.ratelimit.v3.RateLimitRequest`. Field numbers are those of `rls.proto` and `ratelimit.proto`.
struct RateLimitQuery {
    var domain: String
    var descriptors: [RateLimitPolicy.Descriptor]

    func encoded() -> [UInt8] {
        var buffer = ReverseBuffer()
        for descriptor in descriptors.reversed() {
            buffer.prepend(field: 2) { message in
                if let hits = descriptor.hits {
                    // A wrapper: zero hits look without counting.
                    message.prepend(field: 3) { $0.prepend(field: 1, varint: hits) }
                }
                if let limit = descriptor.override {
                    message.prepend(field: 2) { override in
                        override.prepend(field: 2, varint: UInt64(limit.unit.rawValue))
                        override.prepend(field: 1, varint: UInt64(limit.requests))
                    }
                }
                for entry in descriptor.entries.reversed() {
                    message.prepend(field: 1) { pair in
                        if !entry.value.isEmpty { pair.prepend(field: 2, text: entry.value) }
                        if !entry.key.isEmpty { pair.prepend(field: 1, text: entry.key) }
                    }
                }
            }
        }
        if !domain.isEmpty { buffer.prepend(field: 1, text: domain) }
        return buffer.bytes
    }
}
