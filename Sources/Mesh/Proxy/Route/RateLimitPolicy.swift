import Bytes
import HTTP
import JSON
import TLS
import XDS

/// What of a request a rate limit service is asked about (`envoy.config.route.v3.RateLimit`).
package struct RateLimitPolicy: Sendable {
    enum Action: Sendable {
        case sourceCluster
        case destinationCluster
        case requestHeader(HeaderKey, key: String, isOptional: Bool)
        case queryParameter([UInt8], key: String, isOptional: Bool)
        case remoteAddress
        case maskedRemoteAddress(v4: UInt8, v6: UInt8)
        case genericKey(key: String, value: String)
        case headerMatch(key: String, value: String, expected: Bool, [HeaderMatcher])
        case parameterMatch(key: String, value: String, expected: Bool, [QueryParameterMatcher])
        case addressMatch(key: String, value: String, AddressRanges)
        case metadata(key: String, filter: String, path: [String], absent: String, isOptional: Bool, ofRoute: Bool)
    }

    package enum Unit: Int, Sendable { case unknown, second, minute, hour, day, month, year }

    /// How much a request counts.
    enum Hits: Sendable {
        case fixed(UInt64)
        /// What this says as a number.
        case computed(Template)
    }

    package struct Override: Hashable, Sendable {
        package var requests: UInt32
        package var unit: Unit
    }

    package struct Descriptor: Hashable, Sendable {
        package struct Entry: Hashable, Sendable {
            package var key: String
            package var value: String
        }
        package var entries: [Entry]
        package var override: Override?
        /// nil for what the filter adds.
        package var hits: UInt64?
    }

    /// Filters ask for the policies of one stage.
    package let stage: UInt32
    package let disableKey: String
    let actions: [Action]
    let override: Override?
    let hits: Hits?
    /// The service is told when the stream ends instead of asked when it begins.
    package let appliesWhenDone: Bool

    /// nil when some action has nothing to say: then nothing is asked.
    ///
    /// - Parameter serviceCluster: the name of the cluster that this proxy is of.
    package func descriptor(_ stream: HTTPStream, serviceCluster: String) -> Descriptor? {
        var entries: [Descriptor.Entry] = []
        for action in actions {
            switch action.entry(stream, serviceCluster) {
            case .entry(let key, let value): entries.append(Descriptor.Entry(key: key, value: value))
            case .nothing: continue
            case .stop: return nil
            }
        }
        guard !entries.isEmpty else { return nil }
        var descriptor = Descriptor(entries: entries, override: override, hits: nil)
        switch hits {
        case nil: break
        case .fixed(let number)?: descriptor.hits = number
        case .computed(let template)?:
            guard let number = UInt64(template.text(stream)) else { return nil }
            descriptor.hits = number
        }
        return descriptor
    }
}

/// Which of its virtual host's policies a request has besides its route's.
enum HostRateLimits: String, ConfigEnum {
    /// Those, where the route has none.
    case override = "OVERRIDE"
    case include = "INCLUDE"
    case ignore = "IGNORE"
}

extension HTTPStream {
    /// What the route, and its virtual host, ask a rate limit service about in this stage.
    func rateLimits(stage: UInt32, host: HostRateLimits = .override) -> [RateLimitPolicy] {
        guard let route, case .forward(let action) = route.action else { return [] }
        var policies = action.options.rateLimits
        if host == .include || action.options.includesHostRateLimits || host == .override && policies.isEmpty {
            policies += route.hostRateLimits
        }
        return policies.filter { $0.stage == stage }
    }
}

extension RateLimitPolicy.Action {
    fileprivate enum Answer {
        case entry(String, String)
        case nothing
        case stop
    }

    fileprivate func entry(_ stream: HTTPStream, _ serviceCluster: String) -> Answer {
        func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
        switch self {
        case .sourceCluster: return .entry("source_cluster", serviceCluster)
        case .destinationCluster:
            guard let name = stream.clusterName else { return .stop }
            return .entry("destination_cluster", name)
        case .requestHeader(let header, let key, let isOptional):
            let value = stream.request.withJoined(header) { $0.map(text) }
            return value.map { .entry(key, $0) } ?? (isOptional ? .nothing : .stop)
        case .queryParameter(let name, let key, let isOptional):
            let value = QueryString.value(of: name, in: stream.request.path).map(text)
            return value.map { .entry(key, $0) } ?? (isOptional ? .nothing : .stop)
        case .remoteAddress:
            guard let address = stream.remote.address else { return .stop }
            return .entry("remote_address", "\(address)")
        case .maskedRemoteAddress(let v4, let v6):
            guard let address = stream.remote.address,
                let prefix = CIDR(address, prefixLength: address.family == .v4 ? v4 : v6)
            else { return .stop }
            return .entry("masked_remote_address", "\(prefix.network)")
        case .genericKey(let key, let value): return .entry(key, value)
        case .headerMatch(let key, let value, let expected, let matchers):
            return matchers.allSatisfy { $0.matches(stream.request) } == expected
                ? .entry(key, value) : .stop
        case .parameterMatch(let key, let value, let expected, let matchers):
            return matchers.allSatisfy { $0.matches(stream.request.path) } == expected
                ? .entry(key, value) : .stop
        case .addressMatch(let key, let value, let ranges):
            return stream.remote.address.map(ranges.contains) == true ? .entry(key, value) : .stop
        case .metadata(let key, let filter, let path, let absent, let isOptional, let ofRoute):
            let values = ofRoute ? stream.route?.metadata[filter] : stream.metadata?.values[filter]
            if let value = values?.value(at: path)?.string, !value.isEmpty { return .entry(key, value) }
            if !absent.isEmpty { return .entry(key, absent) }
            return isOptional ? .nothing : .stop
        }
    }
}

extension RateLimitPolicy {
    /// - Parameter ofFilter: in the configuration of a filter, where hits count.
    init(_ node: ConfigNode, ofFilter: Bool) throws(ConfigError) {
        stage = node.uint32("stage", default: 0)
        disableKey = node.string("disable_key")
        appliesWhenDone = node.bool("apply_on_stream_done")
        override = try node.message("limit") { (node) throws(ConfigError) in
            guard let limit = node.message("rate_limit") else { throw node.unsupported("dynamic_metadata") }
            let unit = try limit.enumeration("unit", as: UnitName.self)
            return Override(
                requests: limit.uint32("requests_per_unit"),
                unit: Unit(rawValue: UnitName.allCases.firstIndex(of: unit) ?? 0) ?? .unknown)
        }
        hits = try node.message("hits_addend") { (node) throws(ConfigError) -> Hits in
            guard ofFilter else { throw node.error("hits count only in the rate_limits of a filter") }
            let format = node.string("format")
            if !format.isEmpty { return .computed(try Template(format, node, "format")) }
            if node.bool("is_negative_hits") { throw node.unsupported("is_negative_hits") }
            return .fixed(node.uint64("number", default: 1))
        }
        actions = try node.messages("actions", Action.init)
    }

    fileprivate enum UnitName: String, ConfigEnum {
        case unknown = "UNKNOWN"
        case second = "SECOND"
        case minute = "MINUTE"
        case hour = "HOUR"
        case day = "DAY"
        case month = "MONTH"
        case year = "YEAR"
    }
}

extension RateLimitPolicy.Action {
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        let name = node.choice("action_specifier") ?? ""
        guard name != "extension", let action = node.message(name) else { throw node.unsupported(name) }
        func key(_ usual: String) -> String {
            let key = action.string("descriptor_key")
            return key.isEmpty ? usual : key
        }
        // As in Envoy, where a runtime flag is off that gives them command operators, values are texts.
        func value() -> String { action.string("descriptor_value") }
        switch name {
        case "source_cluster": self = .sourceCluster
        case "destination_cluster": self = .destinationCluster
        case "request_headers":
            self = .requestHeader(
                HeaderKey(action.string("header_name")), key: key(""), isOptional: action.bool("skip_if_absent"))
        case "query_parameters":
            self = .queryParameter(
                Array(action.string("query_parameter_name").utf8), key: key(""),
                isOptional: action.bool("skip_if_absent"))
        case "remote_address": self = .remoteAddress
        case "masked_remote_address":
            self = .maskedRemoteAddress(
                v4: UInt8(action.uint32("v4_prefix_mask_len", default: 32)),
                v6: UInt8(action.uint32("v6_prefix_mask_len", default: 128)))
        case "generic_key": self = .genericKey(key: key("generic_key"), value: value())
        case "header_value_match":
            self = .headerMatch(
                key: key("header_match"), value: value(), expected: action.bool("expect_match", default: true),
                try action.messages("headers", HeaderMatcher.init))
        case "query_parameter_value_match":
            self = .parameterMatch(
                key: key("query_match"), value: value(), expected: action.bool("expect_match", default: true),
                try action.messages("query_parameters", QueryParameterMatcher.init))
        case "remote_address_match":
            guard let ranges = try action.message("address_matcher", AddressRanges.init) else {
                throw action.error("address_matcher", "is missing")
            }
            self = .addressMatch(key: key("remote_address_match"), value: value(), ranges)
        case "dynamic_metadata", "metadata":
            var ofRoute = false
            if name == "metadata" { ofRoute = try action.enumeration("source", as: Source.self) == .route }
            guard let place = action.message("metadata_key") else { throw action.error("metadata_key", "is missing") }
            self = .metadata(
                key: key(""), filter: place.string("key"), path: place.messages("path").map { $0.string("key") },
                absent: action.string("default_value"), isOptional: name == "metadata" && action.bool("skip_if_absent"),
                ofRoute: ofRoute)
        default: throw node.unsupported(name)
        }
    }

    private enum Source: String, ConfigEnum {
        case dynamic = "DYNAMIC"
        case route = "ROUTE_ENTRY"
    }
}

extension Template {
    fileprivate init(_ text: String, _ node: ConfigNode, _ field: String) throws(ConfigError) {
        do throws(OperatorParser.Invalid) { try self.init(text, absent: "") } catch {
            throw node.error(field, "\(error)")
        }
    }

    fileprivate func text(_ stream: HTTPStream) -> String {
        if let literal { return String(decoding: literal, as: UTF8.self) }
        var rendered = GrowingBytes()
        defer { rendered.deallocate() }
        render(stream, into: &rendered)
        return String(decoding: rendered.bytes, as: UTF8.self)
    }
}
