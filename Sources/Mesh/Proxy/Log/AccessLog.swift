import TLS

/// One access log of a connection manager: which streams it tells of, what it says, and where. Immutable.
package final class AccessLog: Sendable {
    enum Format: Sendable {
        case text(Template)
        case json(JSONTemplate)
    }

    private let filter: AccessLogFilter?
    private let format: Format
    private let file: LogFile

    init(_ file: LogFile, _ format: Format, filter: AccessLogFilter? = nil) {
        self.file = file
        self.format = format
        self.filter = filter
    }

    /// Writes a stream's line; on its loop. `scratch` is empty before and after.
    func write(_ stream: HTTPStream, _ scratch: inout GrowingBytes) {
        if let filter, !filter.passes(stream) { return }
        switch format {
        case .text(let template): template.render(stream, into: &scratch)
        case .json(let template): template.render(stream, into: &scratch)
        }
        file.append(scratch.bytes)
        scratch.clear()
    }

    /// Envoy's line for logs that name no format.
    static let defaultFormat =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
        + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
        + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
        + "\"%UPSTREAM_HOST%\"\n"
}
