import HTTP

/// What the client is told when no upstream could answer: which thing failed, in Envoy's words.
struct UpstreamFailure {
    var reason: StreamReset
    /// After others that failed.
    var isRetry = false

    var words: StaticString {
        switch reason {
        case .connectionFailure: "remote connection failure"
        case .connectTimeout: "connection timeout"
        case .connectionTermination: "connection termination"
        case .remoteReset: "remote reset"
        case .refused: "remote refused stream reset"
        case .protocolError: "protocol error"
        case .overflow: "overflow"
        case .localReset: "local reset"
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

    /// The details with what the transport says of itself; nil when it says nothing.
    private func text(_ transport: String) -> String? {
        guard !transport.isEmpty else { return nil }
        let cause = String(transport.map { $0 == " " ? "_" : $0 })
        return "\(details.description.dropLast())|\(cause)}"
    }

    private static let overloaded = HeaderKey("x-envoy-overloaded")

    func reply(on stream: HTTPStream) {
        let start: StaticString =
            isRetry
            ? "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
            : "upstream connect error or disconnect/reset before headers. reset reason: "
        let count = start.utf8CodeUnitCount
        withUnsafeTemporaryAllocation(byteCount: count + words.utf8CodeUnitCount, alignment: 1) { body in
            body.copyMemory(from: start.bytes)
            UnsafeMutableRawBufferPointer(rebasing: body[count...]).copyMemory(from: words.bytes)
            stream.reply(
                reason == .protocolError ? 502 : 503, body: UnsafeRawBufferPointer(body), details: details
            ) { response in
                stream.countFailure(response.status)
                stream.detailText = text(stream.upstream.failure)
                guard reason == .overflow, !stream.manager.options.suppressesEnvoyHeaders else { return }
                response.set(Self.overloaded, StaticString("true").bytes)
            }
        }
    }
}
