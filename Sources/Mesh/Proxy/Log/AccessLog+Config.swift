import HTTP
import JSON
import XDS

extension AccessLog {
    /// An `envoy.config.accesslog.v3.AccessLog`.
    convenience init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        let name = node.string("name")
        guard let config = try node.typed("typed_config") else {
            throw node.error("typed_config", "access log \"\(name)\" has no configuration")
        }
        let filter = try node.message("filter", AccessLogFilter.read)
        if let sink = try Sink(service: config, context) {
            self.init(sink, filter: filter)
            return
        }
        let path: String
        switch config.typeName {
        case "envoy.extensions.access_loggers.file.v3.FileAccessLog": path = config.string("path")
        case "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": path = "/dev/stdout"
        case "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": path = "/dev/stderr"
        default: throw node.error("typed_config", "access log \(config.typeName) is not supported")
        }
        let format = try Format(config)
        do { self.init(.file(try context.logs.open(path), format), filter: filter) } catch {
            throw config.error("path", "unable to open file '\(path)': \(error)")
        }
    }
}

extension AccessLog.Format {
    /// The format of a log's configuration.
    init(_ node: ConfigNode) throws(ConfigError) {
        do throws(OperatorParser.Invalid) {
            switch node.choice("access_log_format") {
            case "format": self = .text(try Template(node.string("format")))
            case "json_format", "typed_json_format":
                let name = node.choice("access_log_format") ?? ""
                self = .json(try JSONTemplate(node.structure(name) ?? JSONObject(), omitsEmpty: false))
            case "log_format":
                guard let format = node.message("log_format") else { fallthrough }
                self = try Self.substitution(format)
            default: self = .text(try Template(AccessLog.defaultFormat))
            }
        } catch {
            throw node.error(error.description)
        }
    }

    /// The extensions that a format names: those that are there are there for all formats.
    static func checkFormatters(_ node: ConfigNode) throws(OperatorParser.Invalid) {
        for formatter in node.messages("formatters") {
            _ = formatter.string("name")
            let type: String
            do { type = try formatter.typed("typed_config")?.typeName ?? "" } catch {
                throw OperatorParser.Invalid(error.description)
            }
            switch type {
            case "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
                "envoy.extensions.formatter.metadata.v3.Metadata":
                continue
            default: throw OperatorParser.Invalid("formatter \(type) is not supported")
            }
        }
    }

    /// An `envoy.config.core.v3.SubstitutionFormatString`.
    static func substitution(_ node: ConfigNode) throws(OperatorParser.Invalid) -> AccessLog.Format {
        let omitsEmpty = node.bool("omit_empty_values")
        let absent = omitsEmpty ? "" : "-"
        node.ignore("content_type")
        try checkFormatters(node)
        switch node.choice("format") {
        case "text_format": return .text(try Template(node.string("text_format"), absent: absent))
        case "json_format":
            return .json(try JSONTemplate(node.structure("json_format") ?? JSONObject(), omitsEmpty: omitsEmpty))
        case "text_format_source":
            let bytes: [UInt8]
            do { bytes = try node.message("text_format_source", DataSource.inline) ?? [] } catch {
                throw OperatorParser.Invalid(error.description)
            }
            return .text(try Template(String(decoding: bytes, as: UTF8.self), absent: absent))
        default: throw OperatorParser.Invalid("no format")
        }
    }
}

extension AccessLogFilter {
    /// An `envoy.config.accesslog.v3.AccessLogFilter`.
    static func read(_ node: ConfigNode) throws(ConfigError) -> AccessLogFilter {
        guard let choice = node.choice("filter_specifier"), let filter = node.message(choice) else {
            throw node.error("no filter")
        }
        switch choice {
        case "status_code_filter":
            let (comparison, value) = try compare(filter)
            return .status(comparison, value)
        case "duration_filter":
            let (comparison, value) = try compare(filter)
            return .duration(comparison, value)
        case "not_health_check_filter": return .notHealthCheck
        case "traceable_filter": return .traceable
        case "runtime_filter":
            _ = filter.string("runtime_key")
            _ = filter.bool("use_independent_randomness")
            let (parts, whole) = try fraction(filter.message("percent_sampled"))
            return .fraction(parts, of: whole)
        case "and_filter": return .all(try filter.messages("filters", read))
        case "or_filter": return .any(try filter.messages("filters", read))
        case "header_filter":
            guard let matcher = try filter.message("header", HeaderMatcher.init) else {
                throw filter.error("header", "is missing")
            }
            return .header(matcher)
        case "response_flag_filter":
            var flags: ResponseFlags = []
            for name in filter.strings("flags") {
                guard let bit = ResponseFlags.names.firstIndex(where: { "\($0.short)" == name }) else {
                    throw filter.error("flags", "\"\(name)\" is no response flag")
                }
                flags.insert(ResponseFlags(rawValue: 1 << UInt64(bit)))
            }
            return .flags(flags)
        case "grpc_status_filter":
            var codes: Set<Int> = []
            for name in try filter.enumerations("statuses", as: StatusName.self) { codes.insert(name.code) }
            return .grpcStatus(codes, excludes: filter.bool("exclude"))
        case "log_type_filter":
            let types = try filter.enumerations("types", as: LogType.self)
            return .logType(excludes: filter.bool("exclude"), includesEnd: types.contains(.downstreamEnd))
        case "metadata_filter":
            return .metadata(
                try filter.message("matcher", MetadataMatcher.init),
                whenMissing: filter.bool("match_if_key_not_found", default: true))
        default: throw node.error("access log filter \(choice) is not supported")
        }
    }

    private static func compare(_ node: ConfigNode) throws(ConfigError) -> (Comparison, Int) {
        guard let comparison = node.message("comparison") else { throw node.error("comparison", "is missing") }
        guard let value = comparison.message("value") else { throw comparison.error("value", "is missing") }
        _ = value.string("runtime_key")
        let operation: Comparison =
            switch try comparison.enumeration("op", as: OperationName.self) {
            case .equal: .equal
            case .atLeast: .atLeast
            case .atMost: .atMost
            case .notEqual: .notEqual
            }
        return (operation, Int(value.uint32("default_value")))
    }

    /// An `envoy.type.v3.FractionalPercent`.
    private static func fraction(_ node: ConfigNode?) throws(ConfigError) -> (UInt32, UInt32) {
        guard let node else { return (0, 100) }
        let whole: UInt32 =
            switch try node.enumeration("denominator", as: Denominator.self) {
            case .hundred: 100
            case .tenThousand: 10_000
            case .million: 1_000_000
            }
        return (node.uint32("numerator"), whole)
    }

    private enum Denominator: String, ConfigEnum {
        case hundred = "HUNDRED"
        case tenThousand = "TEN_THOUSAND"
        case million = "MILLION"
    }

    private enum OperationName: String, ConfigEnum {
        case equal = "EQ"
        case atLeast = "GE"
        case atMost = "LE"
        case notEqual = "NE"
    }

    private enum LogType: String, ConfigEnum {
        case notSet = "NotSet"
        case downstreamStart = "DownstreamStart"
        case downstreamPeriodic = "DownstreamPeriodic"
        case downstreamEnd = "DownstreamEnd"
    }

    private enum StatusName: String, ConfigEnum {
        case ok = "OK"
        case canceled = "CANCELED"
        case unknown = "UNKNOWN"
        case invalidArgument = "INVALID_ARGUMENT"
        case deadlineExceeded = "DEADLINE_EXCEEDED"
        case notFound = "NOT_FOUND"
        case alreadyExists = "ALREADY_EXISTS"
        case permissionDenied = "PERMISSION_DENIED"
        case resourceExhausted = "RESOURCE_EXHAUSTED"
        case failedPrecondition = "FAILED_PRECONDITION"
        case aborted = "ABORTED"
        case outOfRange = "OUT_OF_RANGE"
        case unimplemented = "UNIMPLEMENTED"
        case `internal` = "INTERNAL"
        case unavailable = "UNAVAILABLE"
        case dataLoss = "DATA_LOSS"
        case unauthenticated = "UNAUTHENTICATED"

        var code: Int { Self.allCases.firstIndex(of: self) ?? 2 }
    }
}
