import Bytes
import HTTP
import XDS

/// A way to learn who the client of a request is (`original_ip_detection_extensions`).
enum ClientDetector: Sendable {
    /// `x-forwarded-for`: so many places before the last, or before all that are trusted.
    case forwarded(hops: Int, trusted: AddressRanges?, appends: Bool)
    case header(HeaderKey, mayTrust: Bool, rejection: Int?)

    enum Finding {
        /// `isTrusted`: it may make the request one of our own. `appends`: the peer is put behind it in `x-forwarded-for`.
        case client(SocketAddress, isTrusted: Bool, appends: Bool)
        case unknown(appends: Bool)
        /// The request is answered so.
        case rejected(Int)
    }

    /// - Parameter forwarded: `x-forwarded-for` before this hop is appended.
    func detect(_ request: HeaderBlock, peer: SocketAddress, forwarded: UnsafeRawBufferPointer?) -> Finding {
        switch self {
        case .forwarded(let hops, nil, let appends):
            guard let forwarded, let found = ClientIdentity.address(forwarded, fromLast: hops) else {
                return .unknown(appends: appends)
            }
            return .client(found.address, isTrusted: found.isOnly, appends: appends)
        case .forwarded(_, let trusted?, let appends):
            // Of somebody who is not trusted the list is told, and not believed.
            guard let address = peer.address, trusted.contains(address) else { return .unknown(appends: true) }
            guard let forwarded, let found = Self.lastUntrusted(forwarded, trusted) else {
                return .unknown(appends: appends)
            }
            return .client(.ip(found.address, 0), isTrusted: found.isOnly, appends: appends)
        case .header(let key, let mayTrust, let rejection):
            if let text = request.value(key), let address = IPAddress(utf8: text[...].trimmed) {
                return .client(.ip(address, 0), isTrusted: mayTrust, appends: false)
            }
            return rejection.map { .rejected($0) } ?? .unknown(appends: false)
        }
    }

    /// From the end of the list the first address that is none of `trusted`; the first of all where all are.
    private static func lastUntrusted(
        _ list: UnsafeRawBufferPointer, _ trusted: AddressRanges
    ) -> (address: IPAddress, isOnly: Bool)? {
        var end = list.count
        var isOnly = true
        while true {
            let comma = list[..<end].lastIndex(of: UInt8(ascii: ","))
            let text = list[(comma.map { $0 + 1 } ?? 0)..<end].trimmed
            guard let address = IPAddress(utf8: text) else { return nil }
            guard trusted.contains(address), let comma else { return (address, isOnly && comma == nil) }
            isOnly = false
            end = comma
        }
    }
}

extension ClientDetector {
    /// A `TypedExtensionConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        _ = node.string("name")
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        switch config.typeName {
        case "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig":
            let hops = Int(config.uint32("xff_num_trusted_hops"))
            let trusted = try config.message("xff_trusted_cidrs") { (node) throws(ConfigError) in
                AddressRanges(try node.messages("cidrs", CIDR.init))
            }
            if hops > 0, trusted != nil {
                throw config.error("Cannot set both xff_num_trusted_hops and xff_trusted_cidrs")
            }
            self = .forwarded(hops: hops, trusted: trusted, appends: !config.bool("skip_xff_append", default: true))
        case "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig":
            let rejection = config.message("reject_with_status").map { node in
                let code = node.enumNumber("code")
                return code >= 400 ? code : 403
            }
            self = .header(
                HeaderKey(config.string("header_name")),
                mayTrust: config.bool("allow_extension_to_set_address_as_trusted"), rejection: rejection)
        default: throw node.error("typed_config", "client detection by \(config.typeName) is not supported")
        }
    }
}
