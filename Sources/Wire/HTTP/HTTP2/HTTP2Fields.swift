import CNghttp2
import TLS

/// A header block in the shape nghttp2 takes: lower-case names, no connection-specific fields (RFC 9113 §8.2.2).
package struct HTTP2Fields {
    /// Text of all fields one after another; offsets until it stops growing, pointers only in `withValues`.
    private var text = GrowingBytes()
    private var parts: [(name: Int, nameLength: Int, value: Int, valueLength: Int)] = []

    package init() {}

    /// Forgets the fields and keeps the memory, for the next block.
    package mutating func clear() {
        text.clear()
        parts.removeAll(keepingCapacity: true)
    }

    /// A name in lower case and a value from elsewhere, both copied.
    package mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        let start = text.count
        text.append(name)
        text.append(value)
        parts.append((start, name.count, start + name.count, value.count))
    }

    package mutating func add(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        add(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value)
    }

    mutating func add(_ name: StaticString, _ value: String) {
        let start = text.count
        text.append(name)
        let middle = text.count
        text.append(utf8: value)
        parts.append((start, middle - start, middle, text.count - middle))
    }

    package mutating func add(_ name: StaticString, _ value: StaticString) {
        let start = text.count
        text.append(name)
        let middle = text.count
        text.append(value)
        parts.append((start, middle - start, middle, text.count - middle))
    }

    mutating func add(_ headers: HTTPHeaders) {
        guard !headers.isEmpty else { return }
        headers.withText { source in
            for field in headers.fields {
                switch field.name {
                case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .host, .http2Settings:
                    continue
                case .te:
                    // RFC 9113 §8.2.2: "trailers" is the only value allowed.
                    let value = slice(source, field.valueOffset, Int(field.valueLength))
                    guard equalsIgnoringCase(value, "trailers") else { continue }
                default: break
                }
                let start = text.count
                for byte in slice(source, field.nameOffset, Int(field.nameLength)) { text.append(lowercase(byte)) }
                let middle = text.count
                text.append(slice(source, field.valueOffset, Int(field.valueLength)))
                parts.append((start, middle - start, middle, text.count - middle))
            }
        }
    }

    func withValues<R>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> R) -> R {
        guard let base = text.bytes.baseAddress else { return body(nil, 0) }
        let start = UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: UInt8.self)
        return withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: parts.count) { values in
            for (index, part) in parts.enumerated() {
                values[index] = nghttp2_nv(
                    name: start + part.name, value: start + part.value, namelen: part.nameLength,
                    valuelen: part.valueLength, flags: 0)
            }
            return body(UnsafePointer(values.baseAddress), parts.count)
        }
    }

    package mutating func deallocate() { text.deallocate() }

    private func slice(_ source: UnsafeRawBufferPointer, _ offset: UInt32, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: source[Int(offset)..<Int(offset) + count])
    }
}
