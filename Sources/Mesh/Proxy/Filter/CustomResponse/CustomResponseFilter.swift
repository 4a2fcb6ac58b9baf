import HTTP
import TLS
import XDS

/// Gives answers of the proxy's own instead of those that it is told of (`envoy.filters.http.custom_response`).
package final class CustomResponseFilter: Sendable {
    /// A `LocalResponsePolicy`.
    struct Answer: Sendable {
        var status: Int?
        var body: [UInt8]
        var format: LocalReplyRules.Format?
        var headers: HeaderMutations
        var details: Details

        enum Details: Sendable {
            case none, kept
            case text(String)
        }
    }

    /// nil where nothing is answered.
    private let answers: MatchTree<Answer>?

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        // Every level is asked, the most specific first, and the filter last.
        let subject = MatchSubject(stream)
        var found: Answer?
        stream.eachSettings(slot) {
            if found == nil, case .customResponse(let own) = $0 { found = own.answers?.decide(subject) }
        }
        guard let answer = found ?? answers?.decide(subject) else { return .proceed }
        stream.replace(by: answer)
        return .replied
    }

    /// The filter, and what a route says instead, have one form.
    init(_ node: ConfigNode) throws(ConfigError) {
        answers = try node.message("custom_response_matcher") { (node) throws(ConfigError) in
            try MatchTree(node) { (action) throws(ConfigError) in
                guard
                    action.typeName
                        == "envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy"
                else { throw action.error("response policy \(action.typeName) is not supported") }
                return try Answer(action)
            }
        }
    }
}

extension CustomResponseFilter.Answer {
    /// A `LocalResponsePolicy`.
    init(_ node: ConfigNode) throws(ConfigError) {
        status = node.uint32IfSet("status_code").map(Int.init)
        body = try node.message("body", DataSource.inline) ?? []
        format = try node.message("body_format", LocalReplyRules.Format.init)
        headers = HeaderMutations(
            additions: try node.messages("response_headers_to_add", HeaderMutations.Addition.init))
        details =
            switch node.choice("response_code_details_action") {
            case "preserve_response_code_details": node.bool("preserve_response_code_details") ? .kept : .none
            case "response_code_details": .text(node.string("response_code_details"))
            default: .none
            }
    }
}

extension HTTPStream {
    /// Answers the client in place of the response, which no filter behind this one sees.
    fileprivate func replace(by answer: CustomResponseFilter.Answer) {
        let (words, text) = (details, detailText)
        localReplyBody = answer.body
        var body = GrowingBytes()
        defer { body.deallocate() }
        if let format = answer.format {
            format.render(self, into: &body)
        } else {
            answer.body.withUnsafeBytes { body.append($0) }
        }
        detailText = nil
        skipResponseFilters()
        reply(answer.status ?? response.status, body: body.bytes, details: "", isOfRoute: false) { response in
            answer.headers.apply(to: response, self)
            switch answer.details {
            // Said to be nothing.
            case .none: detailText = ""
            case .kept: (details, detailText) = (words, text)
            case .text(let text): detailText = text
            }
        }
    }
}
