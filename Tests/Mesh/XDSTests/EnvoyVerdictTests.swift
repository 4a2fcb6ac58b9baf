import Glibc
import Reactor
import TestSupport
import Testing

@testable import XDS

/// Bootstraps that Envoy itself is asked about: what it refuses for its shape, its types and its rules, we refuse, and what
/// it accepts we read.
@Suite("Envoy's verdict") struct EnvoyVerdictTests {
    /// Changes of a bootstrap that both accept. Nil as the reason: it stays acceptable.
    struct Row: Sendable, CustomStringConvertible {
        var old: String
        var new: String
        /// What our refusal says.
        var reason: String?
        /// We refuse what Envoy lets pass, on purpose.
        var isStricter = false

        init(_ old: String, _ new: String, _ reason: String? = nil, isStricter: Bool = false) {
            (self.old, self.new, self.reason, self.isStricter) = (old, new, reason, isStricter)
        }
        var description: String { "\(old) → \(new)" }
    }

    static let base = """
        node: {id: a, cluster: b, locality: {zone: z}, metadata: {NAMESPACE: default}}
        admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
        static_resources:
          listeners:
          - name: in
            address: {socket_address: {address: 127.0.0.1, port_value: 0}}
            listener_filters_timeout: 1.5s
            listener_filters:
            - name: envoy.filters.listener.tls_inspector
              typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}
            filter_chains:
            - filter_chain_match: {server_names: [a.test], source_prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}
              filters:
              - name: envoy.filters.network.tcp_proxy
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                  stat_prefix: tcp
                  weighted_clusters: {clusters: [{name: up, weight: 1}]}
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: in
                  codec_type: AUTO
                  stream_idle_timeout: 0s
                  common_http_protocol_options: {idle_timeout: 3600s, max_headers_count: 100}
                  http2_protocol_options: {max_concurrent_streams: 100}
                  access_log:
                  - name: envoy.access_loggers.stdout
                    filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: k}}}}
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
                      log_format: {json_format: {code: "%RESPONSE_CODE%", deep: {a: [1, true]}}}
                  route_config:
                    name: r
                    request_headers_to_add: [{header: {key: x-a, value: b}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]
                    virtual_hosts:
                    - name: all
                      domains: ["*"]
                      typed_per_filter_config:
                        envoy.filters.http.cors:
                          "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
                          allow_origin_string_match: [{safe_regex: {regex: ".*"}}]
                      routes:
                      - match: {prefix: /a, headers: [{name: x-b, string_match: {exact: c}}]}
                        route:
                          cluster: up
                          timeout: 15s
                          retry_policy: {retry_on: 5xx, num_retries: 2, retry_back_off: {base_interval: 0.025s}}
                          hash_policy: [{header: {header_name: x-h}}]
                      - match: {path_separated_prefix: /b}
                        redirect: {path_redirect: /c, response_code: FOUND}
                      - match: {safe_regex: {regex: "/d.*"}}
                        direct_response: {status: 200, body: {inline_string: hi}}
                  http_filters:
                  - name: envoy.filters.http.cors
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}
                  - name: envoy.filters.http.fault
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                      abort: {http_status: 503, percentage: {numerator: 1, denominator: HUNDRED}}
                  - name: envoy.filters.http.local_ratelimit
                    typed_config:
                      "@type": type.googleapis.com/udpa.type.v1.TypedStruct
                      type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
                      value: {stat_prefix: l, token_bucket: {max_tokens: 10, fill_interval: 1s}}
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          clusters:
          - name: up
            connect_timeout: 1s
            type: STATIC
            lb_policy: ROUND_ROBIN
            circuit_breakers: {thresholds: [{priority: HIGH, max_connections: 10}]}
            outlier_detection: {consecutive_5xx: 5, interval: 10s, max_ejection_percent: 10}
            health_checks:
            - {timeout: 1s, interval: 5s, unhealthy_threshold: 2, healthy_threshold: 1, http_health_check: {path: /}}
            load_assignment:
              cluster_name: up
              endpoints:
              - locality: {zone: z}
                lb_endpoints:
                - {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9}}}, load_balancing_weight: 3}
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
        """

    static let rows: [Row] = [
        Row("stat_prefix: tcp", "stat_prefix: tcp"),
        // The JSON mapping.
        Row("connect_timeout: 1s", "connectTimeout: 1s"),
        Row("connect_timeout: 1s", "connect_timeout: {seconds: 1}"),
        Row("connect_timeout: 1s", "connect_timeout: 1", "connect_timeout: expected a duration"),
        Row("connect_timeout: 1s", "connect_timeout: 1.0000000001s", "connect_timeout: expected a duration"),
        Row("connect_timeout: 1s", "connect_timeout: 1ms", "connect_timeout: expected a duration"),
        Row("connect_timeout: 1s", "connect_timeout: 315576000001s", "connect_timeout: expected a duration"),
        Row("connect_timeout: 1s", "connect_timeout: 0.000000001s"),
        Row("connect_timeout: 1s", "connect_timeout: null"),
        Row("lb_policy: ROUND_ROBIN", "lb_policy: 0"),
        Row("lb_policy: ROUND_ROBIN", "lb_policy: RANDOM"),
        Row("lb_policy: ROUND_ROBIN", "lb_policy: round_robin"),
        Row("lb_policy: ROUND_ROBIN", "lb_policy: SQUARE", "lb_policy: expected one of"),
        Row("weight: 3", "weight: \"3\""),
        Row("weight: 3", "weight: 3.0"),
        Row("weight: 3", "weight: 3.5", "load_balancing_weight: expected a whole number"),
        Row("weight: 3", "weight: -3", "load_balancing_weight: expected a whole number"),
        Row("weight: 3", "weight: 4294967296", "load_balancing_weight: expected a whole number"),
        Row("inline_string: hi", "inline_bytes: aGk="),
        Row("inline_string: hi", "inline_bytes: aGk"),
        Row("inline_string: hi", "inline_bytes: \"h!\"", "inline_bytes: expected base64"),
        Row("inline_string: hi", "inline_string: 12", "inline_string: expected a string"),
        Row("inline_string: hi", "inline_string: hi, inline_bytes: aGk=", "only one of them may be set"),
        Row("domains: [\"*\"]", "domains: \"*\""),
        Row("domains: [\"*\"]", "domains: [null]", "domains[0]: expected a string", isStricter: true),
        Row("http2_protocol_options: {}", "http2_protocol_options: []", "http2_protocol_options: expected an object"),
        Row("retry_on: 5xx", "retryOn: 5xx"),
        Row("retry_on: 5xx", "retry_no: 5xx", "unknown field \"retry_no\""),
        Row("type: STATIC", "typ: STATIC", "unknown field \"typ\""),
        Row("{code:", "{code: 1, code:", "is there twice", isStricter: true),
        // Packed messages.
        Row("router.v3.Router", "router.v3.Ruter", "unknown type"),
        Row(
            "type.googleapis.com/envoy.extensions.filters.http.router", "envoy.extensions.filters.http.router",
            "no type URL"),
        Row("udpa.type.v1", "xds.type.v3"),
        Row("value: {stat_prefix: l,", "value: {stat_prefix: l, foo: 1,", "unknown field \"foo\""),
        Row("value: {stat_prefix: l,", "value: {stat_prefix: \"\",", "stat_prefix: must have at least 1 character"),
        Row("abort: {", "abort: {htp_status: 1, ", "abort: unknown field \"htp_status\""),
        // The API's rules.
        Row("connect_timeout: 1s", "connect_timeout: 0s", "connect_timeout: must be greater than 0s"),
        Row("name: up\n    connect", "connect", "name: must have at least 1 character"),
        Row("stat_prefix: tcp", "stat_prefix: \"\"", "stat_prefix: must have at least 1 character"),
        Row("weight: 1", "weight: 0", "weight: must be at least 1, is 0"),
        Row("weight: 3", "weight: 0", "load_balancing_weight: must be at least 1"),
        Row("prefix_len: 8", "prefix_len: 129", "prefix_len: must be at most 128"),
        Row("status: 200", "status: 99", "status: must be at least 200"),
        Row("status: 200", "status: 600", "status: must be less than 600"),
        Row("http_status: 503", "http_status: 199", "http_status: must be at least 200"),
        Row("numerator: 1, denominator: HUNDRED", "numerator: 1, denominator: 9", "9 is none of HUNDRED"),
        Row("key: x-a", "key: \"x\\r\\na\"", "key: must be without NUL and line ends"),
        Row("domains: [\"*\"]", "domains: []", "domains: must have at least 1 element, has 0"),
        Row("match: {path_separated_prefix: /b}", "match: {path_separated_prefix: /b/}", "must be a path without"),
        Row("match: {path_separated_prefix: /b}", "match: {}", "needs one of \"prefix\""),
        Row("redirect: {path_redirect: /c, response_code: FOUND}", "name: x", "needs one of \"route\""),
        Row("{header: {header_name: x-h}}", "{}", "needs one of \"header\""),
        Row("max_ejection_percent: 10", "max_ejection_percent: 101", "max_ejection_percent: must be at most 100"),
        Row("timeout: 1s, interval: 5s", "interval: 5s", "timeout: is required"),
        Row("unhealthy_threshold: 2, ", "", "unhealthy_threshold: is required"),
        Row("max_concurrent_streams: 100", "max_concurrent_streams: 0", "max_concurrent_streams: must be at least 1"),
        Row("base_interval: 0.025s", "base_interval: 0s", "base_interval: must be greater than 0s"),
        Row("op: GE", "op: XX", "op: expected one of EQ, GE, LE"),
        Row("fill_interval: 1s", "fill_interval: 0s", "fill_interval: must be greater than 0s"),
        Row("max_tokens: 10", "max_tokens: 0"),
        // YAML.
        Row("node: {id: a,", "node: {id: a, id: b,", "is there twice", isStricter: true),
        Row("type: STATIC", "type: &t STATIC\n    alt_stat_name: *t"),
        Row("type: STATIC", "type: *t", "an alias without its anchor"),
        Row("type: STATIC", "\ttype: STATIC", "bootstrap.yaml:"),
    ]

    /// Nil when we accept it: all messages in it, packed ones too.
    private static func refusal(_ text: String) -> ConfigError? {
        do {
            let bootstrap = try Bootstrap.read([ConfigText(name: "bootstrap.yaml", text: text)])
            try open(bootstrap)
            return nil
        } catch { return error as? ConfigError }
    }

    /// Reads everything, as a proxy does that supports all there is.
    static func open(_ node: ConfigNode) throws {
        for entry in node.message.entries {
            let field = node.message.type.fields[entry.position]
            switch (field.kind, field.cardinality) {
            case (.any, .single): try node.typed(field.name).map(open)
            case (.any, .list): try node.typedList(field.name).forEach(open)
            case (.any, .map): for (_, child) in try node.typedMap(field.name) { try open(child) }
            case (.message, .single): try node.message(field.name).map(open)
            case (.message, .list): try node.messages(field.name).forEach(open)
            case (.message, .map): for (_, child) in node.messageMap(field.name) { try open(child) }
            default: break
            }
        }
    }

    @Test("our own verdict", arguments: rows) func ours(row: Row) {
        #expect(Self.base.contains(row.old), "the row changes nothing")
        let refusal = Self.refusal(Self.base.replacing(row.old, with: row.new))
        if let reason = row.reason {
            #expect(refusal?.description.contains(reason) == true, "\(String(describing: refusal))")
        } else {
            #expect(refusal == nil)
        }
    }

    @Test("Envoy's verdict is the same", .enabled(if: EnvoyBinary.path != nil, "Envoy cannot be installed"))
    func envoys() throws {
        let envoy = try #require(EnvoyBinary.path)
        let scratch = try ScratchFolder()
        for (index, row) in Self.rows.enumerated() {
            try Files.writeAtomically("\(scratch.path)/\(index).yaml", Self.base.replacing(row.old, with: row.new))
        }
        // All in one go, two at a time.
        let command = """
            cd '\(scratch.path)' && ls *.yaml | xargs -P 2 -I {} sh -c \
            "'\(envoy)' --mode validate -l critical -c {} >{}.out 2>&1 && touch {}.accepted || true"
            """
        try #require(system(command) == 0)
        for (index, row) in Self.rows.enumerated() {
            let isAccepted = Files.exists("\(scratch.path)/\(index).yaml.accepted")
            let output = try Files.readText("\(scratch.path)/\(index).yaml.out")
            #expect(isAccepted == (row.reason == nil || row.isStricter), "\(row): \(output)")
        }
    }
}
