/// What the client is told when no upstream could answer: which thing failed, in Envoy's words.
struct UpstreamFailure {
    var reason: StreamReset
    /// The request was on its way when it failed.
    var afterRequest: Bool

    private var words: StaticString {
        switch reason {
        case .connectionFailure:
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
        case .connectTimeout:
            "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
        case .connectionTermination:
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
        case .remoteReset: "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
        case .refused:
            "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset"
        case .protocolError: "upstream connect error or disconnect/reset before headers. reset reason: protocol error"
        case .overflow: "upstream connect error or disconnect/reset before headers. reset reason: overflow"
        case .localReset: "upstream connect error or disconnect/reset before headers. reset reason: local reset"
        }
    }

    private var details: StaticString {
        switch reason {
        case .connectionFailure: "upstream_reset_before_response_started{remote_connection_failure}"
        case .connectTimeout: "upstream_reset_before_response_started{connection_timeout}"
        case .connectionTermination: "upstream_reset_before_response_started{connection_termination}"
        case .remoteReset: "upstream_reset_before_response_started{remote_reset}"
        case .refused: "upstream_reset_before_response_started{remote_refused_stream_reset}"
        case .protocolError: "upstream_reset_before_response_started{protocol_error}"
        case .overflow: "upstream_reset_before_response_started{overflow}"
        case .localReset: "upstream_reset_before_response_started{local_reset}"
        }
    }

    /// Once the client has the head.
    var detailsAfterHead: StaticString {
        switch reason {
        case .connectionFailure: "upstream_reset_after_response_started{remote_connection_failure}"
        case .connectTimeout: "upstream_reset_after_response_started{connection_timeout}"
        case .connectionTermination: "upstream_reset_after_response_started{connection_termination}"
        case .remoteReset: "upstream_reset_after_response_started{remote_reset}"
        case .refused: "upstream_reset_after_response_started{remote_refused_stream_reset}"
        case .protocolError: "upstream_reset_after_response_started{protocol_error}"
        case .overflow: "upstream_reset_after_response_started{overflow}"
        case .localReset: "upstream_reset_after_response_started{local_reset}"
        }
    }

    func reply(on stream: HTTPStream) {
        stream.reply(reason == .protocolError ? 502 : 503, words, details: details)
    }
}
