import HTTP
import JSON
import XDS

/// What a route table says to all of its virtual hosts.
package final class RouteTableOptions: Sendable {
    package let name: String
    let requestHeaders: HeaderMutations
    let responseHeaders: HeaderMutations
    /// The table's changes come first and the route's last, instead of the other way round.
    let appliesMostSpecificLast: Bool
    /// Taken from requests that come from outside.
    let internalOnlyHeaders: [HeaderKey]
    let overrides: FilterOverrides
    let mirrors: [MirrorPolicy]
    let ignoresPort: Bool
    let ignoresPathParameters: Bool
    /// Names the host in place of `:authority`.
    let hostHeader: HeaderKey?
    package let metadata: [String: JSONObject]

    init(_ node: ConfigNode, _ context: RouteContext) throws(ConfigError) {
        name = node.string("name")
        requestHeaders = try .request(node)
        responseHeaders = try .response(node)
        appliesMostSpecificLast = node.bool("most_specific_header_mutations_wins")
        internalOnlyHeaders = node.strings("internal_only_headers").map { HeaderKey($0) }
        overrides = try FilterOverrides(node, context.build)
        mirrors = try node.messages("request_mirror_policies") { (node) throws(ConfigError) in
            try MirrorPolicy(node, context)
        }
        ignoresPort = node.bool("ignore_port_in_host_matching")
        ignoresPathParameters = node.bool("ignore_path_parameters_in_path_matching")
        if ignoresPathParameters { throw node.unsupported("ignore_path_parameters_in_path_matching") }
        let header = node.string("vhost_header")
        hostHeader = header.isEmpty ? nil : HeaderKey(header)
        metadata = node.message("metadata").map(RouteEntry.metadata) ?? [:]
    }

    /// One that says nothing.
    private init() {
        name = ""
        requestHeaders = HeaderMutations()
        responseHeaders = HeaderMutations()
        appliesMostSpecificLast = false
        internalOnlyHeaders = []
        overrides = FilterOverrides()
        mirrors = []
        ignoresPort = false
        ignoresPathParameters = false
        hostHeader = nil
        metadata = [:]
    }

    static let none = RouteTableOptions()

    /// The changes of levels, the most specific first, in the order in which they are applied.
    func order(_ levels: HeaderMutations...) -> [HeaderMutations] {
        let present = levels.filter { !$0.isEmpty }
        return appliesMostSpecificLast ? present.reversed() : present
    }
}

/// A route configuration, compiled: which virtual host serves an authority, and which of its routes a request.
///
/// An immutable snapshot, shared by all workers; a stream keeps the entry it was given.
package final class RouteTable: Sendable {
    package let options: RouteTableOptions
    package let hosts: [VirtualHost]
    private let index: VirtualHostIndex

    package var name: String { options.name }

    /// An `envoy.config.route.v3.RouteConfiguration`.
    ///
    /// - Parameter isStatic: in a static listener, where the clusters that are named must exist unless the table says otherwise.
    init(_ node: ConfigNode, _ context: BuildContext, isStatic: Bool) throws(ConfigError) {
        var scope = RouteContext(build: context)
        if node.bool("validate_clusters", default: isStatic) { scope.knownClusters = context.clusterNames }
        scope.bodyLimit = Int(
            node.uint32("max_direct_response_body_size_bytes", default: UInt32(DirectResponse.defaultBodyLimit)))
        let options = try RouteTableOptions(node, scope)
        let fixed = scope
        hosts = try node.messages("virtual_hosts") { (node) throws(ConfigError) in
            try VirtualHost(node, options, fixed)
        }
        do throws(VirtualHostIndex.Invalid) {
            index = try VirtualHostIndex(hosts.map(\.domains), table: options.name)
        } catch {
            throw node.error("virtual_hosts", error.description)
        }
        self.options = options
    }

    func host(_ stream: HTTPStream) -> VirtualHost? {
        var name = stream.request.authority
        if let key = options.hostHeader {
            name = stream.request.value(key) ?? UnsafeRawBufferPointer(start: nil, count: 0)
        }
        if options.ignoresPort, let port = Authority.portRange(name) {
            name = UnsafeRawBufferPointer(rebasing: name[..<(port.lowerBound - 1)])
        }
        return index.find(name).map { hosts[$0] }
    }

    /// The route of a request; nil when there is none.
    package func find(_ stream: HTTPStream) -> RouteEntry? {
        guard let host = host(stream) else { return nil }
        if let toTLS = host.toTLS, !stream.request.isForwardedAsHTTPS {
            if host.options.tls == .all || !stream.isInternal { return toTLS }
        }
        return host.find(stream)
    }
}

/// The parts of `host:port`, where a host may be an IPv6 address in brackets.
enum Authority {
    /// Where the port's digits stand; nil without a port.
    static func portRange(_ text: UnsafeRawBufferPointer) -> Range<Int>? {
        guard let colon = text.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = (colon + 1)..<text.count
        guard text[digits].allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        // One colon, or a bracket before it: else it is an address.
        guard text[..<colon].last == UInt8(ascii: "]") || !text[..<colon].contains(UInt8(ascii: ":")) else {
            return nil
        }
        return digits
    }
}

extension HeaderBlock {
    var isForwardedAsHTTPS: Bool { value(.xForwardedProto).map { equalsIgnoringCase($0, "https") } ?? false }
}
