import Bytes
import HTTP
import JSON
import XDS

/// Takes header fields and cookies over into dynamic metadata (`envoy.filters.http.header_to_metadata`).
package final class HeaderToMetadataFilter: Sendable {
    fileprivate static let namespace = "envoy.filters.http.header_to_metadata"
    /// Longer values are left out, as in Envoy.
    fileprivate static let valueLimit = 8 << 10

    fileprivate enum Kind: Sendable { case text, number, structure }

    fileprivate struct Target: Sendable {
        var namespace: String
        var key: String
        /// "" for the field's own.
        var value: String
        var rewrite: RegexSubstitution?
        var kind: Kind
        var isBase64: Bool
    }

    fileprivate struct Rule: Sendable {
        var header: HeaderKey?
        var cookie: [UInt8]
        var present: Target?
        var missing: Target?
        var removes: Bool
    }

    private let requestRules: [Rule]
    private let responseRules: [Rule]

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        for rule in present(stream, slot).requestRules { rule.apply(to: stream.request, stream) }
        return .proceed
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        for rule in present(stream, slot).responseRules { rule.apply(to: stream.response, stream) }
        return .proceed
    }

    private func present(_ stream: HTTPStream, _ slot: Int) -> HeaderToMetadataFilter {
        if case .headerToMetadata(let override)? = stream.settings(slot) { return override }
        return self
    }

    init(_ node: ConfigNode) throws(ConfigError) {
        requestRules = try node.messages("request_rules", Rule.init)
        responseRules = try node.messages("response_rules", Rule.init)
        if !node.string("stat_prefix").isEmpty { throw node.unsupported("stat_prefix") }
    }
}

extension HeaderToMetadataFilter.Rule {
    fileprivate func apply(to block: HeaderBlock, _ stream: HTTPStream) {
        if let header {
            let text = block.withJoined(header) { $0.map { String(decoding: $0, as: UTF8.self) } }
            if let text {
                present?.say(text, stream)
                if removes { block.remove(header) }
            } else {
                missing?.say("", stream)
            }
        } else if let text = block.cookie(cookie).map({ String(decoding: $0, as: UTF8.self) }) {
            present?.say(text, stream)
        } else {
            missing?.say("", stream)
        }
    }

    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        let name = node.string("header")
        header = name.isEmpty ? nil : HeaderKey(name)
        cookie = Array(node.string("cookie").utf8)
        guard header != nil || !cookie.isEmpty else {
            throw node.error("One of Cookie or Header option needs to be specified")
        }
        removes = node.bool("remove")
        if removes, header == nil { throw node.error("remove", "Cannot specify remove for cookie") }
        present = try node.message("on_header_present", HeaderToMetadataFilter.Target.init)
        missing = try node.message("on_header_missing", HeaderToMetadataFilter.Target.init)
        guard present != nil || missing != nil else {
            throw node.error(
                "header to metadata filter: rule for header '\(name)' has neither `on_present` nor `on_missing` set")
        }
        if let missing, missing.value.isEmpty {
            throw node.error("on_header_missing", "Cannot specify on_missing rule without non-empty value field")
        }
    }
}

extension HeaderToMetadataFilter.Target {
    fileprivate init(_ node: ConfigNode) throws(ConfigError) {
        namespace = node.string("metadata_namespace")
        if namespace.isEmpty { namespace = HeaderToMetadataFilter.namespace }
        key = node.string("key")
        value = node.string("value")
        rewrite = try node.message("regex_value_rewrite", RegexSubstitution.init)
        kind =
            switch try node.enumeration("type", as: KindName.self) {
            case .text: .text
            case .number: .number
            case .structure: .structure
            }
        isBase64 = try node.enumeration("encode", as: Encoding.self) == .base64
    }

    fileprivate enum KindName: String, ConfigEnum {
        case text = "STRING"
        case number = "NUMBER"
        case structure = "PROTOBUF_VALUE"
    }

    private enum Encoding: String, ConfigEnum {
        case none = "NONE"
        case base64 = "BASE64"
    }

    /// - Parameter text: what the message says; the configured value wins over it.
    fileprivate func say(_ text: String, _ stream: HTTPStream) {
        var text = value.isEmpty ? text : value
        if value.isEmpty, let rewrite {
            var bytes = text
            bytes.withUTF8 { old in
                rewrite.regex.replacing(UnsafeRawBufferPointer(old), with: rewrite.replacement) {
                    text = String(decoding: $0, as: UTF8.self)
                }
            }
        }
        guard !text.isEmpty, text.utf8.count < HeaderToMetadataFilter.valueLimit else { return }
        if isBase64 {
            guard let decoded = Base64.decode(text) else { return }
            text = String(decoding: decoded, as: UTF8.self)
        }
        let found: JSONValue
        switch kind {
        case .text: found = .string(text)
        case .number:
            guard let number = Double(text) else { return }
            found = .double(number)
        case .structure:
            guard let parsed = try? JSONValue.parse(text) else { return }
            found = parsed
        }
        let metadata = stream.ownMetadata
        var own = metadata.values[namespace] ?? JSONObject()
        own[key] = found
        metadata.values[namespace] = own
    }
}
