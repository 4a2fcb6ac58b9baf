import XDS

extension HeaderForm {
    /// `header_key_format` of a `core.v3.Http1ProtocolOptions`.
    init(http1 node: ConfigNode) throws(ConfigError) {
        self = .lowerCase
        guard let format = node.message("header_key_format") else { return }
        if format.message("proper_case_words") != nil { self = .properCase }
        guard let formatter = format.message("stateful_formatter") else { return }
        _ = formatter.string("name")
        guard let config = try formatter.typed("typed_config") else {
            throw formatter.error("typed_config", "is missing")
        }
        guard
            config.typeName == "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
        else { throw formatter.error("typed_config", "header formatter \(config.typeName) is not supported") }
        self = .kept(
            HeaderSpelling.Options(
                forwardsReason: config.bool("forward_reason_phrase"),
                writesProperCase: config.enumName("formatter_type_on_envoy_headers") == "PROPER_CASE"))
    }
}
