import HTTP
import TLS
import XDS

/// One change of a header field; the value is a template that knows the stream.
package struct HeaderMutation: Sendable {
    enum Kind: Sendable {
        case append, addIfAbsent, overwrite, overwriteIfPresent, remove
        /// All fields with such names.
        case removeMatching(StringMatcher)
    }

    var key: HeaderKey
    var kind: Kind
    var value: Template
    /// The field comes also where its value turns out to be empty.
    var keepsEmpty = false

    init(_ key: HeaderKey, _ kind: Kind, _ value: Template) {
        self.key = key
        self.kind = kind
        self.value = value
    }

    func apply(to block: HeaderBlock, _ stream: HTTPStream) {
        switch kind {
        case .addIfAbsent: if block.value(key) != nil { return }
        case .overwriteIfPresent: if block.value(key) == nil { return }
        case .remove:
            block.remove(key)
            return
        case .removeMatching(let matcher):
            block.removeAll { matcher.matches(block.name($0)) }
            return
        case .append, .overwrite: break
        }
        if let literal = value.literal {
            literal.withUnsafeBytes { set($0, in: block) }
        } else {
            var text = GrowingBytes()
            value.render(stream, into: &text)
            set(text.bytes, in: block)
            text.deallocate()
        }
    }

    private func set(_ value: UnsafeRawBufferPointer, in block: HeaderBlock) {
        if value.isEmpty, !keepsEmpty { return }
        switch kind {
        case .append where !key.isPseudo, .addIfAbsent where !key.isPseudo: block.add(key, value)
        default: block.set(key, value)
        }
    }
}

extension HeaderMutation {
    /// A `core.v3.HeaderValueOption`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let header = node.message("header") else { throw node.error("header", "is missing") }
        let raw = header.bytes("raw_value")
        let text = raw.isEmpty ? header.string("value") : String(decoding: raw, as: UTF8.self)
        let value: Template
        do throws(OperatorParser.Invalid) { value = try Template(text, absent: "") } catch {
            throw header.error("value", "\(error)")
        }
        let kind: Kind =
            switch (try node.enumeration("append_action", as: AppendAction.self), node.boolIfSet("append")) {
            case (.append, false?), (.overwrite, _): .overwrite
            case (.append, _): .append
            case (.addIfAbsent, _): .addIfAbsent
            case (.overwriteIfPresent, _): .overwriteIfPresent
            }
        self.init(HeaderKey(header.string("key")), kind, value)
        keepsEmpty = node.bool("keep_empty_value")
    }

    private enum AppendAction: String, ConfigEnum {
        case append = "APPEND_IF_EXISTS_OR_ADD"
        case addIfAbsent = "ADD_IF_ABSENT"
        case overwrite = "OVERWRITE_IF_EXISTS_OR_ADD"
        case overwriteIfPresent = "OVERWRITE_IF_EXISTS"
    }

    /// One of `early_header_mutation_extensions`.
    static func early(_ node: ConfigNode) throws(ConfigError) -> [HeaderMutation] {
        _ = node.string("name")
        guard let config = try node.typed("typed_config") else { throw node.error("typed_config", "is missing") }
        guard config.typeName == "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation" else {
            throw node.error("typed_config", "early header mutation \(config.typeName) is not supported")
        }
        return try config.messages("mutations") { (node) throws(ConfigError) in try HeaderMutation(mutation: node) }
    }

    /// An `envoy.config.common.mutation_rules.v3.HeaderMutation`.
    init(mutation node: ConfigNode) throws(ConfigError) {
        switch node.choice("action") {
        case "remove": self.init(HeaderKey(node.string("remove")), .remove, .nothing)
        case "append":
            guard let append = try node.message("append", { (node) throws(ConfigError) in try HeaderMutation(node) })
            else { throw node.error("append", "is missing") }
            self = append
        case "remove_on_match":
            let match = node.message("remove_on_match")
            guard let matcher = try match?.message("key_matcher", StringMatcher.init) else {
                throw node.error("remove_on_match", "has no key_matcher")
            }
            self.init(HeaderKey(""), .removeMatching(matcher), .nothing)
        case let other: throw node.error("header mutation \(other ?? "") is not supported")
        }
    }
}
