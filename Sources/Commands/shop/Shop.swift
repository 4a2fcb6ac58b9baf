import Bytes
import Glibc
import HTTP
import JSON
import Reactor

/// Answers the requests of the demo.
struct Shop: HTTPHandler {
    let options: ShopOptions
    let loop: EventLoop
    private let hostname = Shop.readHostname()

    /// Bytes of one `/bytes` answer. Beyond: 400.
    static let maximumBytes = 1 << 40
    /// Bytes of a page that `/fetch` passes on. Beyond: 502.
    static let maximumPage = 1 << 20

    /// Whether a header of a request goes along with what is asked because of it; one that forgot these would break a trace.
    private static func goesAlong(_ name: String) -> Bool {
        name.hasPrefix("x-shop-") || ["traceparent", "tracestate", "baggage", "x-request-id"].contains(name)
    }

    init(_ options: ShopOptions, loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard request.method == "GET" || request.method == "HEAD" else {
            return await response.send(status: 405, text: "only GET and HEAD are answered here\n")
        }
        switch request.path {
        case "/": await sayWho(request, response)
        case "/healthz", "/readyz": await response.send(status: 200, text: "ok\n")
        case "/bytes": await sendBytes(request, response)
        case "/fetch": await fetch(request, response)
        default: await response.send(status: 404, text: "no \(request.path) here; see shop --help\n")
        }
    }

    private func sayWho(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard Int.random(in: 0..<100) >= options.failures else {
            return await response.send(status: 503, text: "\(hostname) fails, as it was told to\n")
        }
        var answer: JSONObject = [
            "service": .string(options.name), "pod": .string(hostname), "client": .string("\(request.peer)"),
            "host": .string(request.authority), "protocol": .string("\(request.version)"),
        ]
        if !options.version.isEmpty { answer["version"] = .string(options.version) }
        if let greeting = getenv("GREETING") { answer["greeting"] = .string(String(cString: greeting)) }
        var text = JSONValue.object(answer).encodedString()
        text += "\n"
        await response.send(status: 200, text: text, contentType: "application/json")
    }

    private func sendBytes(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard let count = request.query("n").flatMap(Int.init), (0...Self.maximumBytes).contains(count) else {
            return await response.send(status: 400, text: "n must be a number of bytes up to \(Self.maximumBytes)\n")
        }
        let rate = request.query("rate").flatMap(Int.init)
        if let text = request.query("rate"), (rate ?? 0) <= 0 {
            return await response.send(status: 400, text: "rate=\(text) is not a number of bytes a second\n")
        }
        do {
            try await response.start(
                status: 200, headers: ["content-type": "application/octet-stream"], length: count)
            try await BytePattern(count: count, rate: rate).write(to: response, on: loop)
            await response.finish()
        } catch {
            // The client has gone, which is its right; what was started cannot be completed.
            await response.abort()
        }
    }

    private func fetch(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        guard let url = request.query("url"), let target = HTTPTarget(url) else {
            return await response.send(status: 400, text: "url must be an http:// URL\n")
        }
        let client = HTTPClient(on: loop, endpoint: target.endpoint, headers: ["user-agent": "weft-shop"])
        defer { client.close() }
        do {
            var passed = HTTPHeaders()
            for (name, value) in request.headers where Self.goesAlong(name.lowercased()) {
                passed.add(name, value)
            }
            let stream = try await client.stream("GET", target.path, headers: passed, headTimeout: .seconds(5))
            let page = try await stream.collect(limit: Self.maximumPage, timeout: .seconds(5))
            var headers: HTTPHeaders = ["x-fetched-from": url]
            if let type = stream.headers["content-type"] { headers.add("content-type", type) }
            await response.send(status: stream.status, headers: headers, body: page)
        } catch {
            await response.send(status: 502, text: "\(url): \(error)\n")
        }
    }

    private static func readHostname() -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            guard let base = buffer.baseAddress, gethostname(base, 255) == 0 else { return "unknown" }
            base[255] = 0
            return String(cString: base)
        }
    }
}

/// A URL split into where to connect and what to ask for.
private struct HTTPTarget {
    let endpoint: HTTPEndpoint
    let path: String

    init?(_ url: String) {
        guard url.hasPrefix("http://") else { return nil }
        let rest = url.dropFirst("http://".count)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        guard let endpoint = HTTPEndpoint("http://" + rest[..<end]) else { return nil }
        self.endpoint = endpoint
        path = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
    }
}
