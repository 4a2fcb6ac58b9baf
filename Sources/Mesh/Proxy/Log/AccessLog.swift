import TLS

/// One access log of a connection manager: which streams it tells of, what it says, and where. Immutable.
package final class AccessLog: Sendable {
    enum Format: Sendable {
        case text(Template)
        case json(JSONTemplate)
    }

    /// Where lines go, and what they look like there.
    enum Sink: Sendable {
        case file(LogFile, Format)
        case openTelemetry(LogService, LogRecord)
        case stream(LogService, LogEntry)
    }

    private let filter: AccessLogFilter?
    private let sink: Sink

    init(_ sink: Sink, filter: AccessLogFilter? = nil) {
        self.sink = sink
        self.filter = filter
    }

    /// Writes a stream's line; on its loop. `scratch` is empty before and after.
    func write(_ stream: HTTPStream, _ scratch: inout GrowingBytes) {
        if let filter, !filter.passes(stream) { return }
        switch sink {
        case .file(let file, let format):
            switch format {
            case .text(let template): template.render(stream, into: &scratch)
            case .json(let template): template.render(stream, into: &scratch)
            }
            file.append(scratch.bytes)
            scratch.clear()
        case .openTelemetry(let service, let record):
            stream.worker.shipper(service).take { record.prepend(stream, to: &$0) }
        case .stream(let service, let entry): stream.worker.shipper(service).take { entry.prepend(stream, to: &$0) }
        }
    }

    /// Envoy's line for logs that name no format.
    static let defaultFormat =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
        + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
        + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
        + "\"%UPSTREAM_HOST%\"\n"
}
