import Bytes
import TLS

/// Writes HTTP/1 heads and chunks behind what a buffer holds already.
package enum HTTP1Encoder {
    /// How the receiver shall find the end of the body.
    enum Length {
        case known(Int)
        case chunked
        /// Nothing is said: 1xx, 204, 304, or a body that ends with the connection.
        case unsaid
    }

    /// A response's head. `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` of `headers` are ours to say and are left out.
    static func response(
        _ status: Int, _ headers: HTTPHeaders, _ length: Length, close: Bool, sayKeepAlive: Bool = false,
        date: UnsafeRawBufferPointer, into output: inout GrowingBytes
    ) {
        statusLine(status, into: &output)
        if status >= 200 {
            output.append("date: ")
            output.append(date)
            output.append("\r\n")
        }
        fields(headers, keepsConnection: status == 101, into: &output)
        finishHead(length, close: close, sayKeepAlive: sayKeepAlive, into: &output)
    }

    /// A request's head. `authority` becomes `Host`.
    static func request(
        _ method: String, _ target: String, authority: String, _ headers: HTTPHeaders, _ length: Length,
        into output: inout GrowingBytes
    ) {
        output.append(utf8: method)
        output.append(UInt8(ascii: " "))
        output.append(utf8: target)
        output.append(" HTTP/1.1\r\nhost: ")
        output.append(utf8: authority)
        output.append("\r\n")
        fields(headers, keepsConnection: true, skipsHost: true, into: &output)
        finishHead(length, close: false, sayKeepAlive: false, into: &output)
    }

    /// `1a2b CR LF`; the chunk's bytes and another CR LF follow.
    package static func chunkHeader(_ count: Int, into output: inout GrowingBytes) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 18) { digits in
            digits[16] = 13
            digits[17] = 10
            var at = 16
            var rest = count
            repeat {
                at &-= 1
                let digit = UInt8(truncatingIfNeeded: rest & 15)
                digits[at] = digit < 10 ? digit &+ 48 : digit &+ 87
                rest >>= 4
            } while rest > 0
            output.append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(digits)[at...]))
        }
    }

    /// The last chunk with its trailers.
    static func lastChunk(_ trailers: HTTPHeaders, into output: inout GrowingBytes) {
        output.append("0\r\n")
        if !trailers.isEmpty { fields(trailers, keepsConnection: false, into: &output) }
        output.append("\r\n")
    }

    private static func finishHead(_ length: Length, close: Bool, sayKeepAlive: Bool, into output: inout GrowingBytes) {
        switch length {
        case .known(let count):
            output.append("content-length: ")
            output.append(decimal: count)
            output.append("\r\n")
        case .chunked: output.append("transfer-encoding: chunked\r\n")
        case .unsaid: break
        }
        if close {
            output.append("connection: close\r\n\r\n")
        } else if sayKeepAlive {
            output.append("connection: keep-alive\r\n\r\n")
        } else {
            output.append("\r\n")
        }
    }

    private static func fields(
        _ headers: HTTPHeaders, keepsConnection: Bool, skipsHost: Bool = false, into output: inout GrowingBytes
    ) {
        guard !headers.isEmpty else { return }
        headers.withText { text in
            for field in headers.fields {
                switch field.name {
                case .contentLength, .transferEncoding, .date: continue
                case .connection: if !keepsConnection { continue }
                case .host: if skipsHost { continue }
                default: break
                }
                let name = Int(field.nameOffset)
                output.append(UnsafeRawBufferPointer(rebasing: text[name..<name &+ Int(field.nameLength)]))
                output.append(": ")
                let value = Int(field.valueOffset)
                output.append(UnsafeRawBufferPointer(rebasing: text[value..<value &+ Int(field.valueLength)]))
                output.append("\r\n")
            }
        }
    }

    private static func statusLine(_ status: Int, into output: inout GrowingBytes) {
        switch status {
        case 200: output.append("HTTP/1.1 200 OK\r\n")
        case 101: output.append("HTTP/1.1 101 Switching Protocols\r\n")
        case 404: output.append("HTTP/1.1 404 Not Found\r\n")
        default:
            output.append("HTTP/1.1 ")
            output.append(decimal: status)
            output.append(UInt8(ascii: " "))
            output.append(reason(status))
            output.append("\r\n")
        }
    }

    /// The customary phrase, or an empty one.
    package static func reason(_ status: Int) -> StaticString {
        switch status {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 103: "Early Hints"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 206: "Partial Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }
}

/// The `Date` field's text, made anew at most once a second. One per loop.
package struct DateHeader {
    package init() {}

    private var second: Int64 = -1
    private var text: [UInt8] = []

    /// Makes `bytes` say this second (since 1970), e.g. `Tue, 15 Nov 1994 08:12:31 GMT`.
    package mutating func update(_ now: Int64) {
        guard now != second else { return }
        second = now
        let time = CalendarTime(seconds: now)
        text.removeAll(keepingCapacity: true)
        text += Array("Sun,Mon,Tue,Wed,Thu,Fri,Sat,".utf8)[time.weekday * 4..<time.weekday * 4 + 4]
        text.append(0x20)
        twoDigits(time.day)
        text.append(0x20)
        text += Array("JanFebMarAprMayJunJulAugSepOctNovDec".utf8)[(time.month - 1) * 3..<time.month * 3]
        text.append(0x20)
        twoDigits(Int(time.year / 100))
        twoDigits(Int(time.year % 100))
        text.append(0x20)
        twoDigits(time.hour)
        text.append(UInt8(ascii: ":"))
        twoDigits(time.minute)
        text.append(UInt8(ascii: ":"))
        twoDigits(time.second)
        text += Array(" GMT".utf8)
    }

    package func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R { text.withUnsafeBytes(body) }

    private mutating func twoDigits(_ value: Int) {
        text.append(UInt8(value / 10 % 10) + 48)
        text.append(UInt8(value % 10) + 48)
    }
}
