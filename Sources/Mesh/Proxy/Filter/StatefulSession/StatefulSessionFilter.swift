import Bytes
import HTTP
import Protobuf
import TLS
import XDS

/// `envoy.filters.http.stateful_session`: who has been at a host comes back to it.
package final class StatefulSessionFilter: Sendable {
    /// Where clients carry which host is theirs.
    enum Carrier: Sendable {
        case cookie(Cookie)
        case header(HeaderKey)
    }

    struct Cookie: Sendable {
        var name: String
        var path: String
        /// Seconds; 0 for a cookie that ends with the browser.
        var lifetime: Int64
        var attributes: [(name: String, value: String)]
    }

    /// What a route says (`StatefulSessionPerRoute`).
    package enum Override: Sendable {
        case disabled
        case session(StatefulSessionFilter)
    }

    /// nil for no sessions.
    let carrier: Carrier?
    /// No other host will do.
    let isStrict: Bool

    init(_ carrier: Carrier?, isStrict: Bool) {
        self.carrier = carrier
        self.isStrict = isStrict
    }

    /// Of a request that has, or will have, a host of its own.
    final class State {
        let session: StatefulSessionFilter
        var address: String?
        init(_ session: StatefulSessionFilter) { self.session = session }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var session = self
        switch stream.settings(slot) {
        case .statefulSession(.disabled)?: return .proceed
        case .statefulSession(.session(let other))?: session = other
        default: break
        }
        guard let carrier = session.carrier else { return .proceed }
        if case .cookie(let cookie) = carrier, !cookie.covers(stream.request.pathWithoutQuery) { return .proceed }
        let state = State(session)
        stream.filterState[slot] = state
        state.address = carrier.address(in: stream.request)
        if let address = state.address, let endpoint = IPEndpoint(address) {
            stream.pick.sticky = StickyHost(endpoint: endpoint, isStrict: session.isStrict)
        }
        return .proceed
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) {
        guard let state = stream.filterState[slot] as? State, let carrier = state.session.carrier,
            let host = stream.upstream.remote?.description, host != state.address
        else { return }
        switch carrier {
        case .cookie(let cookie):
            Array(cookie.text(for: host, now: Timestamp.now().seconds).utf8).withUnsafeBytes {
                stream.response.add(.setCookie, $0)
            }
        case .header(let key):
            Array(Base64.encode(host.utf8).utf8).withUnsafeBytes { stream.response.set(key, $0) }
        }
    }
}

extension StatefulSessionFilter.Carrier {
    /// The host that the client says is its own.
    fileprivate func address(in request: HeaderBlock) -> String? {
        switch self {
        case .cookie(let cookie):
            guard let value = request.cookie(Array(cookie.name.utf8)),
                let decoded = Base64.decode(String(decoding: value, as: UTF8.self))
            else { return nil }
            return StatefulSessionFilter.Cookie.address(in: decoded, now: Timestamp.now().seconds)
        case .header(let key):
            guard let value = request.value(key), let decoded = Base64.decode(String(decoding: value, as: UTF8.self))
            else { return nil }
            return String(decoding: decoded, as: UTF8.self)
        }
    }
}

extension StatefulSessionFilter.Cookie {
    /// RFC 6265 §5.1.4
    fileprivate func covers(_ path: UnsafeRawBufferPointer) -> Bool {
        guard !self.path.isEmpty, self.path != "/", path.starts(with: self.path.utf8) else {
            return self.path.isEmpty || self.path == "/"
        }
        let count = self.path.utf8.count
        return path.count == count || self.path.hasSuffix("/") || path[count] == UInt8(ascii: "/")
    }

    /// Envoy's message: the address, and when it ends; or the address by itself, as it was before.
    fileprivate static func address(in bytes: [UInt8], now: Int64) -> String? {
        let read = bytes.withUnsafeBytes { bytes -> (address: String, expires: UInt64)? in
            var (address, expires) = ("", UInt64(0))
            var fields = ProtobufReader<ConfigError>(bytes)
            do throws(ConfigError) {
                while let field = try fields.next() {
                    if field.number == 1, field.wire == .bytes {
                        address = String(decoding: field.bytes, as: UTF8.self)
                    }
                    if field.number == 2, field.wire == .varint { expires = field.scalar }
                }
            } catch { return nil }
            return address.isEmpty ? nil : (address, expires)
        }
        guard let read else { return String(decoding: bytes, as: UTF8.self) }
        return read.expires > 0 && Int64(clamping: read.expires) < now ? nil : read.address
    }

    fileprivate func text(for host: String, now: Int64) -> String {
        var message = ReverseBuffer()
        if lifetime > 0 { message.prepend(field: 2, varint: UInt64(now + lifetime)) }
        message.prepend(field: 1, text: host)
        var text = "\(name)=\"\(Base64.encode(message.bytes))\""
        if lifetime > 0 { text += "; Max-Age=\(lifetime)" }
        if !path.isEmpty { text += "; Path=\(path)" }
        for attribute in attributes {
            text += "; " + attribute.name + (attribute.value.isEmpty ? "" : "=" + attribute.value)
        }
        return text + "; HttpOnly"
    }
}

extension StatefulSessionFilter {
    /// An `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        let isStrict = node.bool("strict")
        guard let state = node.message("session_state") else {
            self.init(nil, isStrict: isStrict)
            return
        }
        _ = state.string("name")
        guard let packed = try state.typed("typed_config") else { throw state.error("typed_config", "is missing") }
        switch packed.typeName {
        case "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState":
            guard let cookie = packed.message("cookie") else { throw packed.error("cookie", "is missing") }
            let lifetime = (cookie.nanoseconds("ttl") ?? 0) / 1_000_000_000
            let attributes = cookie.messages("attributes").map { (name: $0.string("name"), value: $0.string("value")) }
            self.init(
                .cookie(
                    Cookie(
                        name: cookie.string("name"), path: cookie.string("path"), lifetime: Int64(lifetime),
                        attributes: attributes)), isStrict: isStrict)
        case "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState":
            self.init(.header(HeaderKey(packed.string("name"))), isStrict: isStrict)
        default: throw state.error("typed_config", "sessions by \(packed.typeName) are not supported")
        }
    }
}

extension StatefulSessionFilter.Override {
    /// A `StatefulSessionPerRoute`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let session = try node.message("stateful_session", StatefulSessionFilter.init) else {
            _ = node.bool("disabled")
            self = .disabled
            return
        }
        self = .session(session)
    }
}
