import HTTP
import TLS
import XDS

/// What one level of configuration changes about a message's header: fields that go, and then fields that come.
///
/// As in Envoy all values are made from the message as it was; then those that overwrite are set, and then the others added.
package struct HeaderMutations: Sendable {
    enum Kind: Sendable { case append, addIfAbsent, overwrite, overwriteIfPresent }

    struct Addition: Sendable {
        var key: HeaderKey
        var kind: Kind
        var value: Template
        /// The field comes also where its value turns out to be empty.
        var keepsEmpty: Bool
    }

    var removals: [HeaderKey] = []
    var additions: [Addition] = []

    init(additions: [Addition] = []) { self.additions = additions }

    var isEmpty: Bool { removals.isEmpty && additions.isEmpty }

    func apply(to block: HeaderBlock, _ stream: HTTPStream) {
        for key in removals { block.remove(key) }
        guard !additions.isEmpty else { return }
        withUnsafeTemporaryAllocation(of: TextRange?.self, capacity: additions.count) { values in
            for index in additions.indices {
                values.initializeElement(at: index, to: additions[index].evaluate(block, stream))
            }
            for index in additions.indices where additions[index].overwrites {
                if let value = values[index] { block.set(additions[index].key, block.bytes(value)) }
            }
            for index in additions.indices where !additions[index].overwrites {
                if let value = values[index] { additions[index].add(value, to: block) }
            }
        }
    }
}

extension HeaderMutations.Addition {
    fileprivate var overwrites: Bool { kind == .overwrite || kind == .overwriteIfPresent }

    /// Fields that Envoy keeps one of become longer; of others there are several then.
    fileprivate func add(_ value: TextRange, to block: HeaderBlock) {
        switch key.name {
        case .xForwardedFor, .xForwardedHost, .xForwardedProto, .xForwardedClientCert, .grpcTimeout, .te, .userAgent,
            .connection, .contentLength, .contentType, .via, .upgrade, .xRequestID, .location, .server, .date,
            .grpcStatus, .grpcMessage:
            if let index = block.find(key) { return block.appendValue(at: index, ",", block.bytes(value)) }
        default: break
        }
        block.add(key, block.bytes(value))
    }

    /// The value, in the block's text; nil when the field is not to come.
    fileprivate func evaluate(_ block: HeaderBlock, _ stream: HTTPStream) -> TextRange? {
        switch kind {
        case .append, .overwrite: break
        case .addIfAbsent: guard block.value(key) == nil else { return nil }
        case .overwriteIfPresent: guard block.value(key) != nil else { return nil }
        }
        let range = block.append(value, stream)
        return range.isEmpty && !keepsEmpty ? nil : range
    }
}

extension HeaderBlock {
    /// What a template says of a stream.
    fileprivate func append(_ template: Template, _ stream: HTTPStream) -> TextRange {
        if let literal = template.literal { return literal.withUnsafeBytes { append($0) } }
        var text = GrowingBytes()
        defer { text.deallocate() }
        template.render(stream, into: &text)
        return append(text.bytes)
    }
}

extension HeaderMutations {
    /// Lists of `core.v3.HeaderValueOption` and of names, as routes, virtual hosts, clusters and tables have them.
    init(_ node: ConfigNode, add: String, remove: String) throws(ConfigError) {
        for name in node.strings(remove) { removals.append(try Self.key(name, node, remove)) }
        additions = try node.messages(add, Addition.init)
    }

    static func request(_ node: ConfigNode) throws(ConfigError) -> HeaderMutations {
        try HeaderMutations(node, add: "request_headers_to_add", remove: "request_headers_to_remove")
    }

    static func response(_ node: ConfigNode) throws(ConfigError) -> HeaderMutations {
        try HeaderMutations(node, add: "response_headers_to_add", remove: "response_headers_to_remove")
    }

    /// A list of `envoy.config.common.mutation_rules.v3.HeaderMutation`.
    init(mutations nodes: [ConfigNode]) throws(ConfigError) {
        for node in nodes {
            switch node.choice("action") {
            case "remove": removals.append(try Self.key(node.string("remove"), node, "remove"))
            case "append":
                if let addition = try node.message("append", Addition.init) { additions.append(addition) }
            case let other: throw node.error("header mutation \(other ?? "") is not supported")
            }
        }
    }

    fileprivate static func key(_ name: String, _ node: ConfigNode, _ field: String) throws(ConfigError) -> HeaderKey {
        guard !name.hasPrefix(":"), name.lowercased() != "host" else {
            throw node.error(field, ":-prefixed or host headers may not be modified here")
        }
        return HeaderKey(name)
    }
}

extension HeaderMutations.Addition {
    /// A `core.v3.HeaderValueOption`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let header = node.message("header") else { throw node.error("header", "is missing") }
        key = try HeaderMutations.key(header.string("key"), header, "key")
        let raw = header.bytes("raw_value")
        do throws(OperatorParser.Invalid) {
            value = try Template(
                raw.isEmpty ? header.string("value") : String(decoding: raw, as: UTF8.self), absent: "")
        } catch {
            throw header.error("value", "\(error)")
        }
        let action = try node.enumeration("append_action", as: AppendAction.self)
        switch (action, node.boolIfSet("append")) {
        case (.append, false?), (.overwrite, _): kind = .overwrite
        case (.append, _): kind = .append
        case (.addIfAbsent, _): kind = .addIfAbsent
        case (.overwriteIfPresent, _): kind = .overwriteIfPresent
        }
        keepsEmpty = node.bool("keep_empty_value")
    }

    private enum AppendAction: String, ConfigEnum {
        case append = "APPEND_IF_EXISTS_OR_ADD"
        case addIfAbsent = "ADD_IF_ABSENT"
        case overwrite = "OVERWRITE_IF_EXISTS_OR_ADD"
        case overwriteIfPresent = "OVERWRITE_IF_EXISTS"
    }
}
