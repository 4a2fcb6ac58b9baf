import Glibc
import HTTP
import Reactor

/// As much of an API server as a service proxy asks for, over ready-made objects: lists, watches with and without initial
/// events, and whatever is sent later.
final class ObjectServer: @unchecked Sendable {
    // `@unchecked`: everything mutable is confined to `loop`.

    struct Collection: Sendable {
        var kind: String
        var apiVersion: String
        var objects: [String] = []
    }

    private let group: EventLoopGroup
    private let loop: EventLoop
    private var collections: [String: Collection]
    private var watchers: [String: [HTTPResponseWriter]] = [:]
    private static let chunk = 256 << 10

    /// - Parameter collections: by path.
    init(_ collections: [String: Collection]) throws {
        group = try EventLoopGroup(count: 1, name: "objects")
        loop = group.next
        self.collections = collections
    }

    func start() async throws -> UInt16 {
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0),
            handler: HTTPClosureHandler { [self] in await answer($0, $1) })
        return try await server.start().port?.rawValue ?? 0
    }

    /// Tells all watchers of a collection, one event after the other. Objects that come stay for later lists.
    func send(_ type: String, _ objects: [String], to path: String) {
        loop.submit { [self] in
            if type == "ADDED" { collections[path]?.objects += objects }
            if type == "DELETED" { collections[path]?.objects.removeLast(objects.count) }
            let bytes = objects.flatMap { Self.event(type, $0) }
            for watcher in watchers[path] ?? [] { _ = bytes.withUnsafeBytes { watcher.enqueue($0) } }
        }
    }

    private static func event(_ type: String, _ object: String) -> [UInt8] {
        Array(#"{"type":"\#(type)","object":\#(object)}"#.utf8) + [10]
    }

    private func answer(_ request: HTTPRequest, _ response: HTTPResponseWriter) async {
        let path = String(request.path)
        do {
            if let collection = try await loop.perform({ [self] in collections[path] }) {
                if request.query("watch") == "1" || request.query("watch") == "true" {
                    try await watch(collection, path, request, response)
                } else {
                    try await list(collection, response)
                }
            } else if let object = try await loop.perform({ [self] in named(path) }) {
                await response.send(status: 200, text: object, contentType: "application/json")
            } else {
                await response.send(
                    status: 404,
                    text: #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#,
                    contentType: "application/json")
            }
        } catch {
            await response.abort()
        }
    }

    private func named(_ path: String) -> String? {
        guard let slash = path.lastIndex(of: "/") else { return nil }
        let name = #""name":"\#(path[path.index(after: slash)...])""#
        return collections[String(path[..<slash])]?.objects.first { $0.contains(name) }
    }

    private func list(_ collection: Collection, _ response: HTTPResponseWriter) async throws {
        try await response.start(status: 200, headers: ["content-type": "application/json"])
        let head =
            #"{"kind":"\#(collection.kind)List","apiVersion":"\#(collection.apiVersion)","metadata":{"resourceVersion":"1"},"items":["#
        try await write(collection.objects.enumerated().lazy.map { ($0 == 0 ? "" : ",") + $1 }, after: head, response)
        try await response.write(Array("]}".utf8))
        await response.finish()
    }

    private func watch(
        _ collection: Collection, _ path: String, _ request: HTTPRequest, _ response: HTTPResponseWriter
    ) async throws {
        try await response.start(status: 200, headers: ["content-type": "application/json"])
        if request.query("sendInitialEvents") == "true" {
            try await write(
                collection.objects.lazy.map { #"{"type":"ADDED","object":\#($0)}"# + "\n" }, after: "", response)
            try await response.write(
                Self.event(
                    "BOOKMARK",
                    """
                    {"kind":"\(collection.kind)","apiVersion":"\(collection.apiVersion)","metadata":\
                    {"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}
                    """))
        }
        try await loop.perform { [self] in watchers[path, default: []].append(response) }
        await withCheckedContinuation { over in response.onClose { over.resume() } }
        try await loop.perform { [self] in watchers[path]?.removeAll { $0 === response } }
    }

    private func write(_ texts: some Sequence<String>, after head: String, _ response: HTTPResponseWriter) async throws
    {
        var bytes = Array(head.utf8)
        for text in texts {
            bytes += text.utf8
            guard bytes.count > Self.chunk else { continue }
            try await response.write(bytes)
            bytes.removeAll(keepingCapacity: true)
        }
        try await response.write(bytes)
    }
}
