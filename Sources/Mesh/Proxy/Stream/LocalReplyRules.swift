import TLS
import XDS

/// What becomes of the proxy's own answers before filters see them (`local_reply_config`): the first rule that fits changes
/// status, body and fields, and a format makes the body that is sent.
struct LocalReplyRules: Sendable {
    struct Format: Sendable {
        var format: AccessLog.Format
        var contentType: [UInt8]

        func render(_ stream: HTTPStream, into output: inout GrowingBytes) {
            switch format {
            case .text(let template): template.render(stream, into: &output)
            case .json(let template): template.render(stream, into: &output)
            }
        }
    }

    struct Rule: Sendable {
        var filter: AccessLogFilter
        var status: Int?
        var body: [UInt8]?
        var format: Format?
        var headers: HeaderMutations
    }

    private let rules: [Rule]
    private let format: Format?

    /// Changes an answer whose head is in the stream's `response`, and hands on what its body is then, with its type.
    ///
    /// - Parameter send: called once; the bytes are valid within.
    func rewrite(
        _ stream: HTTPStream, _ body: UnsafeRawBufferPointer,
        _ send: (_ body: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer) -> Void
    ) {
        stream.localReplyBody = Array(body)
        var format = format
        if let rule = rules.first(where: { $0.filter.passes(stream) }) {
            if let body = rule.body { stream.localReplyBody = body }
            rule.headers.apply(to: stream.response, stream)
            if let status = rule.status { stream.response.status = status }
            if let own = rule.format { format = own }
        }
        guard let format else {
            let body = stream.localReplyBody
            return body.withUnsafeBytes { send($0, StaticString("text/plain").bytes) }
        }
        var text = GrowingBytes()
        format.render(stream, into: &text)
        format.contentType.withUnsafeBytes { send(text.bytes, $0) }
        text.deallocate()
    }
}

extension LocalReplyRules {
    /// A `LocalReplyConfig`.
    init(_ node: ConfigNode) throws(ConfigError) {
        rules = try node.messages("mappers", Rule.init)
        format = try node.message("body_format", Format.init)
    }
}

extension LocalReplyRules.Rule {
    /// A `ResponseMapper`.
    init(_ node: ConfigNode) throws(ConfigError) {
        guard let filter = try node.message("filter", AccessLogFilter.read) else {
            throw node.error("filter", "is missing")
        }
        self.filter = filter
        status = node.uint32IfSet("status_code").map(Int.init)
        body = try node.message("body", DataSource.inline)
        format = try node.message("body_format_override", LocalReplyRules.Format.init)
        headers = HeaderMutations(additions: try node.messages("headers_to_add", HeaderMutations.Addition.init))
    }
}

extension LocalReplyRules.Format {
    /// A `SubstitutionFormatString`.
    init(_ node: ConfigNode) throws(ConfigError) {
        do throws(OperatorParser.Invalid) { format = try AccessLog.Format.substitution(node) } catch {
            throw node.error(error.description)
        }
        let type = node.string("content_type")
        if type.isEmpty, case .json = format {
            contentType = Array("application/json".utf8)
        } else {
            contentType = Array((type.isEmpty ? "text/plain" : type).utf8)
        }
    }
}
