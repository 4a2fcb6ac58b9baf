import Bytes
import HTTP
import Reactor
import XDS

/// The admin port: serves the pages of `AdminCommand` on the main loop.
package final class AdminServer: HTTPHandler {
    let server: ProxyServer
    /// Asked for by `/quitquitquit`; called once or more, on the main loop.
    let quit: @Sendable () -> Void

    package init(_ server: ProxyServer, quit: @escaping @Sendable () -> Void) {
        self.server = server
        self.quit = quit
    }

    /// Binds and serves.
    /// - Returns: The server, to be drained, and the address that it is bound to.
    package func start(at address: SocketAddress, on group: EventLoopGroup) async throws -> (HTTPServer, SocketAddress)
    {
        let http = HTTPServer(group: group, address: address, handler: self)
        do { return (http, try await http.start()) } catch let error as SystemError {
            throw ListenerRefusal.system(error)
        }
    }

    package func handle(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        let asked = AdminRequest(method: request.method, target: request.target)
        if asked.path == "/tap" { return await tap(asked, response) }
        let answer = await answer(asked)
        await response.send(
            status: answer.status,
            headers: [
                "content-type": answer.contentType, "cache-control": "no-cache, max-age=0",
                "x-content-type-options": "nosniff",
            ], body: Array(answer.body.utf8))
    }

    func answer(_ request: AdminRequest) async -> AdminAnswer {
        guard let command = AdminCommand.all.first(where: { $0.path == request.path }) else {
            return AdminAnswer("invalid path. " + AdminCommand.helpText, status: 404)
        }
        guard !command.mutates || request.method == "POST" else {
            return AdminAnswer("Method \(request.method) not allowed, POST required.", status: 405)
        }
        return await command.answer(request, self)
    }

    // MARK: Statistics

    func stats(_ request: AdminRequest, as fixed: StatPage.Format? = nil) async -> AdminAnswer {
        let usage = fixed == .prometheus ? "/stats/prometheus" : "/stats"
        var page = StatPage()
        if let fixed {
            page.format = fixed
        } else if let name = request["format"] {
            guard let format = StatPage.Format(rawValue: name) else {
                return AdminAnswer("usage: /stats?format=(json|prometheus|text)\n\n", status: 400)
            }
            page.format = format
        }
        if let name = request["type"] {
            guard let kinds = StatPage.Kinds(rawValue: name) else {
                return AdminAnswer(
                    "usage: \(usage)?type=(All|Counters|Histograms|Gauges|TextReadouts)\n\n", status: 400)
            }
            page.kinds = kinds
        }
        if let name = request["histogram_buckets"] {
            guard let buckets = StatPage.Buckets(rawValue: name) else {
                return AdminAnswer(
                    "usage: \(usage)?histogram_buckets=(cumulative|disjoint|detailed|summary)\n\n", status: 400)
            }
            page.buckets = buckets
        }
        if let pattern = request["filter"] {
            do { page.filter = try Regex(pattern) } catch {
                return AdminAnswer("Invalid re2 regex: \(error)\n", status: 400)
            }
        }
        page.usedOnly = request.hasParameter("usedonly")
        page.invertsFilter = request.hasParameter("invert_filter")
        var text = page.render(await server.stats())
        // These have names and labels of their own, and no place in Envoy's.
        if page.format == .prometheus, page.filter == nil { text += await server.meshStats() }
        return page.format == .json ? .json(text) : AdminAnswer(text)
    }

    // MARK: What changes the proxy

    func modifyRuntime(_ request: AdminRequest) async -> AdminAnswer {
        guard !request.parameters.isEmpty else {
            return AdminAnswer(
                "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
                    + "       or send the parameters as form values\n"
                    + "use an empty value to remove a previously added override", status: 400)
        }
        guard await server.modifyRuntime(request.parameters) else {
            return AdminAnswer("No admin layer specified", status: 503)
        }
        return .ok
    }

    func drainListeners(_ request: AdminRequest) async -> AdminAnswer {
        await server.drainListeners(
            graceful: request.hasParameter("graceful"), keepsListeners: request.hasParameter("skip_exit"),
            inboundOnly: request.hasParameter("inboundonly"))
        return .ok
    }
}

/// A bootstrap's `admin`.
package struct AdminOptions: Sendable {
    /// Where it listens.
    package var address: SocketAddress

    /// nil when the bootstrap has none, or one without an address: then there is no admin port.
    package init?(_ bootstrap: ConfigNode) throws(ConfigError) {
        guard let node = bootstrap.message("admin") else { return nil }
        // Requests to the admin port are not logged, which is what a log to /dev/null says.
        for log in node.messages("access_log") {
            guard let config = try log.typed("typed_config"), config.string("path") == "/dev/null" else {
                throw log.error("the admin port keeps no access log; only one to /dev/null is accepted")
            }
            _ = log.string("name")
        }
        let path = node.string("access_log_path")
        guard path.isEmpty || path == "/dev/null" else {
            throw node.error("access_log_path", "the admin port keeps no access log; only /dev/null is accepted")
        }
        // There is no profiler whose output would need a path.
        node.ignore("profile_path", "ignore_global_conn_limit")
        guard let address = try node.socketAddress("address") else { return nil }
        self.address = address
    }
}
