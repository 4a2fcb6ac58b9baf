import XDS

/// When a failed attempt is followed by another, and which host that goes to.
package final class RetryPolicy: Sendable {
    package struct Conditions: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package static let serverError = Conditions(rawValue: 1)
        package static let gatewayError = Conditions(rawValue: 1 << 1)
        package static let reset = Conditions(rawValue: 1 << 2)
        package static let resetBeforeRequest = Conditions(rawValue: 1 << 3)
        package static let connectFailure = Conditions(rawValue: 1 << 4)
        package static let retriable4xx = Conditions(rawValue: 1 << 5)
        package static let refusedStream = Conditions(rawValue: 1 << 6)
        package static let retriableStatusCodes = Conditions(rawValue: 1 << 7)
        package static let retriableHeaders = Conditions(rawValue: 1 << 8)
        package static let envoyRateLimited = Conditions(rawValue: 1 << 9)
        package static let grpcCancelled = Conditions(rawValue: 1 << 10)
        package static let grpcDeadlineExceeded = Conditions(rawValue: 1 << 11)
        package static let grpcInternal = Conditions(rawValue: 1 << 12)
        package static let grpcResourceExhausted = Conditions(rawValue: 1 << 13)
        package static let grpcUnavailable = Conditions(rawValue: 1 << 14)
        /// Means nothing here: there is no HTTP/3.
        package static let http3PostConnectFailure = Conditions(rawValue: 1 << 15)

        static let grpc: Conditions = [
            .grpcCancelled, .grpcDeadlineExceeded, .grpcInternal, .grpcResourceExhausted, .grpcUnavailable,
        ]

        private static let names: [(name: StaticString, condition: Conditions)] = [
            ("5xx", .serverError), ("gateway-error", .gatewayError), ("reset", .reset),
            ("reset-before-request", .resetBeforeRequest), ("connect-failure", .connectFailure),
            ("retriable-4xx", .retriable4xx), ("refused-stream", .refusedStream),
            ("retriable-status-codes", .retriableStatusCodes), ("retriable-headers", .retriableHeaders),
            ("envoy-ratelimited", .envoyRateLimited), ("http3-post-connect-failure", .http3PostConnectFailure),
            ("cancelled", .grpcCancelled), ("deadline-exceeded", .grpcDeadlineExceeded), ("internal", .grpcInternal),
            ("resource-exhausted", .grpcResourceExhausted), ("unavailable", .grpcUnavailable),
        ]

        /// The conditions that a list, separated by commas, names; what it names besides is passed over, as in Envoy.
        init(_ list: UnsafeRawBufferPointer) {
            var found = Conditions()
            for item in list.split(separator: UInt8(ascii: ",")) {
                let name = item.trimmed
                if let known = Self.names.first(where: { $0.name.bytes.elementsEqual(name) }) {
                    found.insert(known.condition)
                }
            }
            self = found
        }
    }

    /// A response that says when to come again.
    struct ResetHeader: Sendable {
        enum Format: Sendable { case seconds, unixTimestamp }
        var key: HeaderKey
        var format: Format
    }

    /// Times in nanoseconds, 0 for none.
    package struct Options: Sendable {
        package var retries: UInt32 = 1
        package var perTryTimeout: UInt64 = 0
        package var perTryIdleTimeout: UInt64 = 0
        package var baseInterval: UInt64 = 25_000_000
        package var maximumInterval: UInt64 = 250_000_000
        package var statusCodes: [Int] = []
        var responseHeaders: [HeaderMatcher] = []
        /// When there are some, only requests that one of them matches are tried again.
        var requestHeaders: [HeaderMatcher] = []
        var resetHeaders: [ResetHeader] = []
        /// Of what `resetHeaders` may ask for.
        var maximumReset: UInt64 = 300_000_000_000
        /// How often another host is looked for when one was at a host that is avoided.
        package var hostAttempts: UInt32 = 1
        package var avoidsPreviousHosts = false
        package var avoidsCanaries = false
        /// Hosts that have all of this are avoided.
        var omittedMetadata: HostMetadata?
        /// Priorities that were tried are left out, recomputed every so many attempts; 0 for no such thing.
        package var priorityUpdates: UInt32 = 0
        package init() {}
    }

    package let conditions: Conditions
    package let options: Options

    package init(_ conditions: Conditions, _ options: Options = Options()) {
        self.conditions = conditions
        self.options = options
    }

    /// Notes that a request was at a host, for the choice of the next.
    func avoid(_ host: Host, in pick: inout PickRequest) {
        guard options.avoidsPreviousHosts || options.avoidsCanaries else { return }
        var avoided = pick.avoiding ?? HostExclusions(attempts: options.hostAttempts)
        if options.avoidsPreviousHosts { avoided.previous.append(host.id) }
        if options.avoidsCanaries { avoided.marks.insert(.canary) }
        pick.avoiding = avoided
    }

    /// As above, of all hosts that no retry may go to (`omit_host_metadata`).
    func omit(from hosts: HostSet, in pick: inout PickRequest) {
        guard let omitted = options.omittedMetadata else { return }
        var avoided = pick.avoiding ?? HostExclusions(attempts: options.hostAttempts)
        for host in hosts.hosts where host.metadata?.has(omitted) == true && !avoided.previous.contains(host.id) {
            avoided.previous.append(host.id)
        }
        pick.avoiding = avoided
    }

    /// Of requests that ask for retries where configuration does not.
    static let none = RetryPolicy([])
}

extension RetryPolicy {
    /// An `envoy.config.route.v3.RetryPolicy`.
    convenience init(_ node: ConfigNode) throws(ConfigError) {
        var options = Options()
        options.retries = node.uint32("num_retries", default: 1)
        options.perTryTimeout = node.nanoseconds("per_try_timeout", default: 0)
        options.perTryIdleTimeout = node.nanoseconds("per_try_idle_timeout", default: 0)
        options.statusCodes = node.uint32s("retriable_status_codes").map(Int.init)
        options.responseHeaders = try node.messages("retriable_headers", HeaderMatcher.init)
        options.requestHeaders = try node.messages("retriable_request_headers", HeaderMatcher.init)
        options.hostAttempts = UInt32(clamping: max(node.int64("host_selection_retry_max_attempts"), 1))
        if let backOff = node.message("retry_back_off") {
            options.baseInterval = max(backOff.nanoseconds("base_interval", default: 0), 1_000_000)
            let base = options.baseInterval
            options.maximumInterval = backOff.nanoseconds("max_interval") ?? base.multipliedClamped(by: 10)
            guard options.maximumInterval >= base else {
                throw backOff.error("max_interval", "must be greater than or equal to the base_interval")
            }
        }
        if let limited = node.message("rate_limited_retry_back_off") {
            options.maximumReset = limited.nanoseconds("max_interval", default: options.maximumReset)
            options.resetHeaders = try limited.messages("reset_headers") { (node) throws(ConfigError) in
                ResetHeader(
                    key: HeaderKey(node.string("name")),
                    format: try node.enumeration("format", as: Format.self) == .seconds ? .seconds : .unixTimestamp)
            }
        }
        try options.read(predicates: node.messages("retry_host_predicate"))
        if let priority = node.message("retry_priority") { try options.read(priority: priority) }
        var retryOn = node.string("retry_on")
        self.init(retryOn.withUTF8 { Conditions(UnsafeRawBufferPointer($0)) }, options)
    }

    private enum Format: String, ConfigEnum {
        case seconds = "SECONDS"
        case timestamp = "UNIX_TIMESTAMP"
    }
}

extension RetryPolicy.Options {
    fileprivate mutating func read(predicates: [ConfigNode]) throws(ConfigError) {
        for node in predicates {
            _ = node.string("name")
            guard let predicate = try node.typed("typed_config") else {
                throw node.error("typed_config", "is missing")
            }
            switch predicate.typeName {
            case "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate": avoidsPreviousHosts = true
            case "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate": avoidsCanaries = true
            case "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig":
                omittedMetadata = SubsetCriteria.read(predicate)
            default: throw node.error("typed_config", "retry predicate \(predicate.typeName) is not supported")
            }
        }
    }

    fileprivate mutating func read(priority node: ConfigNode) throws(ConfigError) {
        _ = node.string("name")
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        guard config.typeName == "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
        else {
            throw node.error("typed_config", "retry priority \(config.typeName) is not supported")
        }
        priorityUpdates = UInt32(clamping: config.int32("update_frequency"))
    }
}

extension UInt64 {
    func multipliedClamped(by factor: UInt64) -> UInt64 {
        let (product, over) = multipliedReportingOverflow(by: factor)
        return over ? .max : product
    }
}

extension Slice where Base == UnsafeRawBufferPointer {
    /// Without blanks and tabs at both ends.
    var trimmed: UnsafeRawBufferPointer {
        var text = self
        while let first = text.first, first == 32 || first == 9 { text = text.dropFirst() }
        while let last = text.last, last == 32 || last == 9 { text = text.dropLast() }
        return UnsafeRawBufferPointer(rebasing: text)
    }
}
