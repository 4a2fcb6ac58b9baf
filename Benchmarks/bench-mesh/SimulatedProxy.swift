import Bytes
import Reactor

/// One proxy as the control plane sees it: an aggregated delta stream over HTTP/2, which takes whatever it is sent. Keeps nothing of it,
/// so that a thousand of them are cheap; written by hand for the same reason.
struct SimulatedProxy: Sendable {
    private static let types = (
        cluster: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        endpoints: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        listener: "type.googleapis.com/envoy.config.listener.v3.Listener",
        routes: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    )

    private let connection: StreamConnection
    private var input: [UInt8] = []
    /// Of `input` what has been looked at.
    private var position = 0
    private var messages: [UInt8] = []

    /// - Parameter name: The node's.
    init(path: String, name: String, on loop: EventLoop) async throws {
        connection = try await StreamConnection.connect(to: .unix(path: path), on: loop)
        var head: [UInt8] = []
        for (name, value) in [
            (":method", "POST"), (":scheme", "http"), (":authority", "xds"), (":path", Self.method),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] {
            // A literal that no table takes (RFC 7541 §6.2.2).
            head += [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
        }
        // Windows as large as they may be: nothing is ever given back.
        let settings: [UInt8] = [0, 4, 0x7f, 0xff, 0xff, 0xff]
        try await connection.write(
            Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(4, 0, 0, settings)
                + Self.frame(8, 0, 0, [0x7f, 0xfe, 0, 0]) + Self.frame(1, 4, 1, head))
        node = Self.field(1, Self.field(1, Array(name.utf8)) + Self.field(6, Array("weft-proxy".utf8)))
    }

    private static let method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    private var node: [UInt8]

    /// Asks for all clusters and listeners, and by name for endpoints and routes, as a proxy of the whole world does.
    mutating func subscribe(endpoints: [String], routes: [String]) async throws {
        try await take(asking: Self.types.cluster, [])
        try await take(asking: Self.types.listener, [])
        for (type, names) in [(Self.types.endpoints, endpoints), (Self.types.routes, routes)] {
            // Within the window that every server gives at first.
            for start in stride(from: 0, to: names.count, by: 250) {
                try await take(asking: type, Array(names[start..<min(start + 250, names.count)]))
            }
        }
    }

    private mutating func take(asking type: String, _ names: [String]) async throws {
        var request = node
        node = []
        request += Self.field(2, Array(type.utf8))
        for name in names { request += Self.field(3, Array(name.utf8)) }
        try await send(request)
        var missing = max(1, names.count)
        while missing > 0 {
            let response = try await next()
            guard response.type == type else { continue }
            missing -= names.isEmpty ? 1 : response.count
        }
    }

    /// What was said next, which is accepted.
    mutating func next() async throws -> (type: String, count: Int) {
        let message = try await receive()
        var (type, nonce, count) = ("", [UInt8](), 0)
        var rest = message[...]
        while let tag = rest.popFirst() {
            var (length, shift) = (0, 0)
            while let byte = rest.popFirst() {
                length |= Int(byte & 0x7f) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            switch tag >> 3 {
            case 2, 6: count += 1
            case 4: type = String(decoding: rest.prefix(length), as: UTF8.self)
            case 5: nonce = Array(rest.prefix(length))
            default: break
            }
            rest = rest.dropFirst(length)
        }
        try await send(Self.field(2, Array(type.utf8)) + Self.field(6, nonce))
        return (type, count)
    }

    // MARK: Bytes

    private func send(_ message: [UInt8]) async throws {
        let size = UInt32(message.count)
        let framed = [0] + (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * UInt32($0))) } + message
        try await connection.write(Self.frame(0, 0, 1, framed))
    }

    private mutating func receive() async throws -> [UInt8] {
        while true {
            if messages.count >= 5 {
                let size = messages[1..<5].reduce(0) { $0 << 8 | Int($1) }
                if messages.count >= 5 + size {
                    defer { messages.removeFirst(5 + size) }
                    return Array(messages[5..<(5 + size)])
                }
            }
            try await readFrame()
        }
    }

    private mutating func readFrame() async throws {
        while input.count - position < 9 { try await fill() }
        let size = input[position..<(position + 3)].reduce(0) { $0 << 8 | Int($1) }
        while input.count - position < 9 + size { try await fill() }
        let (kind, flags) = (input[position + 3], input[position + 4])
        let body = input[(position + 9)..<(position + 9 + size)]
        position += 9 + size
        switch kind {
        case 0: messages += body
        case 4 where flags & 1 == 0: try await connection.write(Self.frame(4, 1, 0, []))
        case 6 where flags & 1 == 0: try await connection.write(Self.frame(6, 1, 0, Array(body)))
        case 3, 7: throw Ended(description: "the server ended the stream")
        default: break
        }
    }

    private mutating func fill() async throws {
        let bytes = try await connection.read()
        guard !bytes.isEmpty else { throw Ended(description: "the server closed the connection") }
        input = Array(input[position...]) + bytes
        position = 0
    }

    struct Ended: Error, CustomStringConvertible { var description: String }

    private static func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt8, _ body: [UInt8]) -> [UInt8] {
        let size = body.count
        return [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255), kind, flags, 0, 0, 0, stream] + body
    }

    private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        var (length, prefix) = (bytes.count, [number << 3 | 2])
        while length >= 0x80 {
            prefix.append(UInt8(length & 0x7f) | 0x80)
            length >>= 7
        }
        return prefix + [UInt8(length)] + bytes
    }
}
