import Flags
import Bytes
import HTTP
import Proxy
import Reactor

/// `weft-proxy explain REQUEST-ID`: asks a running proxy's admin port what happened to a request.
struct ExplainCommand: Sendable {
    private var target = "/explain"
    private var address = "127.0.0.1:15000"
    private var addressPath = ""

    static let usage = """
        usage: weft-proxy explain REQUEST-ID | --failed  [--admin ADDRESS | --admin-address-path FILE]
          REQUEST-ID                         a request's x-request-id, as access logs and upstreams have it
          --failed                           the last requests that failed, a line each
          --admin ADDRESS                    the proxy's admin port (default 127.0.0.1:15000)
          --admin-address-path FILE          where the proxy wrote its admin port's address

        """

    init(_ arguments: some Sequence<String>) throws(FlagError) {
        let words = Array(arguments)
        let ids = words.prefix { !$0.hasPrefix("-") }
        if let id = ids.first { target = "/explain?id=\(PercentEncoding.encode(id))" }
        guard ids.count <= 1 else { throw FlagError("more than one request ID") }
        var rest = FlagReader(words.dropFirst(ids.count))
        while let name = try rest.nextName() {
            switch name {
            case "--failed": target = "/explain?failed"
            case "--admin": address = try rest.value()
            case "--admin-address-path": addressPath = try rest.value()
            case "-h", "--help": target = ""
            default: throw FlagError("Couldn't find match for argument: \(name)")
            }
        }
    }

    var wantsHelp: Bool { target.isEmpty }

    /// Prints what is known.
    /// - Throws: When the admin port cannot be asked.
    func run(on loop: EventLoop) async throws -> CInt {
        let text = addressPath.isEmpty ? address : try Files.readText(addressPath)
        guard let place = SocketAddress(text.split(separator: "\n").first.map(String.init) ?? ""),
            let endpoint = HTTPEndpoint(place)
        else { throw FlagError("\"\(text)\" is no address") }
        let client = HTTPClient(on: loop, endpoint: endpoint)
        let answer: HTTPResponse
        do { answer = try await client.request("GET", target) } catch {
            throw FlagError("the admin port at \(place) cannot be asked: \(error)")
        }
        say(String(decoding: answer.body, as: UTF8.self), to: answer.status == 200 ? 1 : 2)
        return answer.status == 200 ? 0 : 1
    }
}
