/// The router's own logs (`upstream_log`): a line for each attempt.
extension HTTPStream {
    /// Writes a line about the present attempt, seen from the upstream's side: what it was sent are the bytes sent.
    func logUpstream(_ attempt: UpstreamAttempt, _ kind: StaticString) {
        let logs = manager.options.upstreamLogs
        guard !logs.isEmpty, !routing.isMirror else { return }
        let (flags, words, text, before) = (responseFlags, details, detailText, logKind)
        responseFlags = attempt.failure?.responseFlag ?? []
        details = attempt.hasHead ? "via_upstream" : ""
        detailText = nil
        logKind = kind
        swap(&requestBytes, &responseBytes)
        worker.write(self, to: logs)
        swap(&requestBytes, &responseBytes)
        (responseFlags, details, detailText, logKind) = (flags, words, text, before)
    }
}

extension StreamReset {
    /// The response flag of an attempt that ended so.
    var responseFlag: ResponseFlags {
        switch self {
        case .overflow: .upstreamOverflow
        case .connectionFailure, .connectTimeout: .upstreamConnectionFailure
        case .connectionTermination: .upstreamConnectionTermination
        case .remoteReset, .refused: .upstreamRemoteReset
        case .protocolError: .upstreamProtocolError
        case .localReset: .localReset
        }
    }
}
