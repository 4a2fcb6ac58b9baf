import Bytes
import Glibc
import HTTP
import JSON
import Reactor
import TLS
import Testing

@testable import PodRuntime

@Suite("a node's server", .enabled(if: getuid() == 0))
struct KubeletServerTests {
    private struct Served: Sendable {
        var port: UInt16
        var authority: CertificateAuthority
        var loop: EventLoop

        func get(
            _ path: String, by user: String?, _ groups: [String] = [], method: String = "GET"
        ) async throws -> HTTPResponse {
            var identity: TLSIdentity?
            if let user {
                identity = try authority.issue(
                    CertificateTemplate(
                        subject: DistinguishedName(commonName: user, organizations: groups), purpose: .client))
            }
            let context = try TLSContext(
                connecting: TrustPool([authority.certificate]), identity: identity, verification: .trust)
            let client = HTTPClient(
                on: loop, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port, isSecure: true), tls: context)
            defer { client.close() }
            return try await client.request(method, path, timeout: .seconds(60))
        }
    }

    /// A node with its server, and clients of its authority.
    private func with(_ body: @escaping @Sendable (TestNode, Served) async throws -> Void) async throws {
        try await TestNode.with { node in
            let authority = try CertificateAuthority.create(commonName: "test")
            let serving = try authority.issue(
                CertificateTemplate(subject: DistinguishedName(commonName: "system:node:node-1"), purpose: .peer))
            let tls = try TLSContext(
                serving: [serving], clientCertificates: .requested, trust: TrustPool([authority.certificate]))
            let group = try EventLoopGroup(count: 1, name: "kubelet")
            let agent = try await node.perform { $0 }
            let server = HTTPServer(
                group: group, address: .ip(.loopbackV4, 0), tls: tls,
                handler: KubeletServer(
                    agent: agent, metrics: { Array("metrics\n".utf8) }, isHealthy: { true },
                    pages: ["mesh": PodPage(port: 15000, posts: ["/logging"])]))
            let port = try #require(try await server.start().port).rawValue
            do {
                try await body(node, Served(port: port, authority: authority, loop: group.next))
            } catch {
                await group.shutdown()
                throw error
            }
            await group.shutdown()
        }
    }

    @Test("administrators and the API server are let in, others are not, and health is for all")
    func access() async throws {
        try await with { _, served in
            let everybody = try await served.get("/healthz", by: nil)
            #expect(everybody.text == "ok")
            let masters = ["system:masters"]
            let rows: [(path: String, user: String?, groups: [String], status: Int)] = [
                ("/pods", nil, [], 401), ("/pods", "system:node:node-2", ["system:nodes"], 403),
                ("/pods", "kube-apiserver-kubelet-client", masters, 200), ("/metrics", "admin", masters, 200),
                ("/nothing", "admin", masters, 404), ("/containerLogs/shop/nobody/main", "admin", masters, 404),
            ]
            for row in rows {
                let response = try await served.get(row.path, by: row.user, row.groups)
                #expect(response.status == row.status, "\(row)")
            }
        }
    }

    @Test("a page on a pod's own loopback is told through the node, by its name, and nothing else of it is changed")
    func pages() async throws {
        try await with { node, served in
            // One line back: what it was asked for.
            let script = """
                $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 15000, Listen => 5, ReuseAddr => 1) or die;
                while ($c = $s->accept) {
                    $l = <$c>; 1 while (<$c> =~ /\\S/);
                    print $c "HTTP/1.1 200 OK\\r\\ncontent-length: ".length($l)."\\r\\nconnection: close\\r\\n\\r\\n$l"; close $c;
                }
                """
            let command: JSONValue = ["/usr/bin/perl", "-MIO::Socket::INET", "-e", .string(script)]
            try await node.apply(
                PodFixture.pod(uid: "t-page", containers: [PodFixture.container("main", ["command": command])]))
            try await node.status("t-page", "readiness") { $0.isReady }
            let masters = ["system:masters"]
            @Sendable func ask(_ path: String, _ method: String = "GET") async throws -> HTTPResponse {
                try await served.get("/mesh/shop/web" + path, by: "kube-apiserver", masters, method: method)
            }
            var page = try await ask("/clusters?format=json")
            for _ in 0..<1000 where page.status == 502 {
                try await Task.sleep(for: .milliseconds(20))
                page = try await ask("/clusters?format=json")
            }
            #expect(page.text == "GET /clusters?format=json HTTP/1.1\r\n")
            #expect(try await ask("/logging?level=debug", "POST").text == "POST /logging?level=debug HTTP/1.1\r\n")
            #expect(try await ask("/quitquitquit", "POST").status == 405)
            let stranger = try await served.get("/mesh/shop/web/clusters", by: "system:node:n2", ["system:nodes"])
            #expect(stranger.status == 403)
            let missing = try await served.get("/mesh/shop/nobody/clusters", by: "admin", masters)
            #expect(missing.status == 404)
        }
    }

    @Test("logs are served whole, by their tail, followed to the container's end, and of the run before")
    func logs() async throws {
        try await with { node, served in
            let script = "echo one; echo two; while ! test -e /shared/go; do sleep 0.01; done; echo three"
            let container = PodFixture.container(
                "main",
                [
                    "command": ["/bin/sh", "-c", .string(script)],
                    "volumeMounts": [["name": "shared", "mountPath": "/shared"]],
                ])
            try await node.apply(
                PodFixture.pod(
                    uid: "t-logs", containers: [container],
                    spec: ["volumes": [["name": "shared", "emptyDir": [:]]], "restartPolicy": "OnFailure"]))
            try await node.status("t-logs", "readiness") { $0.isReady }
            @Sendable func get(_ query: String) async throws -> HTTPResponse {
                try await served.get("/containerLogs/shop/web/main" + query, by: "admin", ["system:masters"])
            }
            var whole = try await get("").text
            for _ in 0..<500 where whole != "one\ntwo\n" {
                try await Task.sleep(for: .milliseconds(10))
                whole = try await get("").text
            }
            #expect(whole == "one\ntwo\n")
            let tail = try await get("?tailLines=1").text
            #expect(tail == "two\n")
            for query in ["?tailLines=-1", "?previous=true"] {
                let refused = try await get(query).status
                #expect(refused == 400, "\(query)")
            }
            async let followed = get("?follow=true")
            try Directory.touch(node.paths.diskVolume("t-logs", "shared") + "/go")
            let text = try await followed.text
            #expect(text == "one\ntwo\nthree\n")
        }
    }
}
