import HTTP

/// A header block as HTTP/2 sends it: pseudo-header fields first, nothing that belongs to one connection (RFC 9113 §8.2.2).
extension HTTP2Fields {
    mutating func addRequest(_ head: HeaderBlock) {
        clear()
        add(":method", head.methodText)
        if !head.protocolRange.isEmpty { add(":protocol", head.bytes(head.protocolRange)) }
        if head.method != .connect || !head.protocolRange.isEmpty {
            add(":scheme", head.schemeRange.isEmpty ? ("http" as StaticString).bytes : head.scheme)
            add(":path", head.path)
        }
        add(":authority", head.authority)
        addFields(head)
    }

    mutating func addResponse(_ head: HeaderBlock, status: Int) {
        clear()
        withDecimal(status) { add(":status", $0) }
        addFields(head)
    }

    mutating func addTrailers(_ block: HeaderBlock) {
        clear()
        addFields(block)
    }

    private mutating func addFields(_ head: HeaderBlock) {
        for index in 0..<head.count {
            let field = head.fields[index]
            switch field.name {
            case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .host, .http2Settings: continue
            default: add(head.name(field), head.value(field))
            }
        }
    }
}
