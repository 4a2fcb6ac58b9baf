import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Store
import Testing

@testable import APIServer

private let maps = "/api/v1/namespaces/default/configmaps"

@Suite("watching")
struct WatchTests {
    @Test("a watch without a resourceVersion begins with what is there, and goes on")
    func fromState() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.configMaps, configMap("a"))
            let watch = try await client.watch(maps + "?watch=1")
            #expect(try await watch.next(1) == ["ADDED a"])
            try await server.make(.configMaps, configMap("b"))
            _ = try await client.send("PATCH", maps + "/a", ["data": ["x": "y"]], type: "application/merge-patch+json")
            _ = try await client.send("DELETE", maps + "/a")
            #expect(try await watch.next(3) == ["ADDED b", "MODIFIED a", "DELETED a"])
        }
    }

    @Test("every event's object has the revision that a watch can resume from")
    func resuming() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let list = try await client.get(maps)
            for n in 0..<5 { try await server.make(.configMaps, configMap("m\(n)")) }
            let watch = try await client.watch(maps + "?watch=1&resourceVersion=\(list.revision)")
            _ = try await watch.next(2)
            let third = try await watch.next()
            #expect(third?["object"]?["metadata"]?["name"] == "m2")
            let revision = third?["object"]?["metadata"]?["resourceVersion"]?.string ?? ""
            let resumed = try await client.watch(maps + "?watch=1&resourceVersion=\(revision)")
            #expect(try await resumed.next(2) == ["ADDED m3", "ADDED m4"])
        }
    }

    @Test("a streamed list ends with the marked bookmark")
    func watchList() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            for n in 0..<3 { try await server.make(.configMaps, configMap("m\(n)")) }
            let query = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
            let watch = try await client.watch(maps + query)
            #expect(try await watch.next(3) == ["ADDED m0", "ADDED m1", "ADDED m2"])
            let mark = try await watch.next()
            #expect(mark?["type"] == "BOOKMARK")
            #expect(mark?["object"]?["metadata"]?["annotations"]?["k8s.io/initial-events-end"] == "true")
            #expect(mark?["object"]?["metadata"]?["resourceVersion"]?.string == "\(server.store.currentRevision)")
            try await server.make(.configMaps, configMap("m3"))
            #expect(try await watch.next(1) == ["ADDED m3"])
        }
    }

    @Test("an object that enters a selection is added, one that leaves it is deleted as it was")
    func transitions() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let list = try await client.get(maps)
            let watch = try await client.watch(
                maps + "?watch=1&labelSelector=in%3Dyes&resourceVersion=\(list.revision)")
            func label(_ value: String) async throws {
                _ = try await client.send(
                    "PATCH", maps + "/a", ["metadata": ["labels": ["in": .string(value)]]],
                    type: "application/merge-patch+json")
            }
            try await server.make(.configMaps, configMap("a"))
            try await label("yes")
            try await label("no")
            try await label("yes")
            _ = try await client.send("DELETE", maps + "/a")
            #expect(try await watch.next(1) == ["ADDED a"])
            let left = try await watch.next()
            #expect(left?["type"] == "DELETED" && left?["object"]?["metadata"]?["labels"]?["in"] == "yes")
            #expect(try await watch.next(2) == ["ADDED a", "DELETED a"])
        }
    }

    @Test("a watcher that does not read loses nothing and holds up nobody")
    func slowWatcher() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let slow = try await client.watch(maps + "?watch=1&resourceVersion=\(server.store.currentRevision)")
            let count = 3000
            let payload = JSONValue.string(String(repeating: "x", count: 2000))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for writer in 0..<8 {
                    tasks.addTask {
                        for n in 0..<(count / 8) {
                            try await server.make(.configMaps, configMap("w\(writer)-\(n)", ["p": payload]))
                        }
                    }
                }
                try await tasks.waitForAll()
            }
            var last: Int64 = 0
            for _ in 0..<count {
                let frame = try await slow.next()
                let revision = Int64(frame?["object"]?["metadata"]?["resourceVersion"]?.string ?? "") ?? 0
                #expect(revision > last)
                last = revision
            }
            #expect(last == server.store.currentRevision.rawValue)
        }
    }

    @Test("watchers resume after a restart of the server, from its history")
    func restart() async throws {
        let first = try await TestServer.start()
        try await first.make(.configMaps, configMap("before"))
        let revision = first.store.currentRevision
        try await first.make(.configMaps, configMap("missed"))
        await first.stop(keepingFolder: true)
        let second = try await TestServer.start(folder: first.folder, authority: first.authority)
        let watch = try await second.client().watch(maps + "?watch=1&resourceVersion=\(revision)")
        #expect(try await watch.next(1) == ["ADDED missed"])
        try await second.make(.configMaps, configMap("after"))
        #expect(try await watch.next(1) == ["ADDED after"])
        await second.stop()
    }

    @Test("a watch ends in good order after the time that its client asked for, with a last bookmark")
    func timeout() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let watch = try await client.watch(
                maps
                    + "?watch=1&resourceVersion=\(server.store.currentRevision)&timeoutSeconds=1&allowWatchBookmarks=true"
            )
            #expect(try await watch.next()?["type"] == "BOOKMARK")
            #expect(try await watch.next() == nil)
        }
    }

    @Test("frames come as protobuf, tables and metadata too, columns once")
    func encodings() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let query = maps + "?watch=1&resourceVersion=\(server.store.currentRevision)"
            let tables = try await client.watch(query, accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
            let partials = try await client.watch(
                query, accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
            let binary = try await client.watch(query, accept: "application/vnd.kubernetes.protobuf")
            #expect(binary.stream.headers["content-type"] == "application/vnd.kubernetes.protobuf;stream=watch")
            try await server.make(.configMaps, configMap("a", ["k": "v"]))
            try await server.make(.configMaps, configMap("b"))
            let first = try await tables.next()
            #expect(first?["object"]?["columnDefinitions"]?.array?.isEmpty == false)
            #expect(try await tables.next()?["object"]?["columnDefinitions"]?.array ?? [] == [])
            let partial = try await partials.next()
            #expect(partial?["object"]?["kind"] == "PartialObjectMetadata" && partial?["object"]?["data"] == nil)
            var bytes: [UInt8] = []
            while bytes.count < 4 || bytes.count < 4 + Int(bytes[2]) << 8 + Int(bytes[3]) {
                bytes += try await binary.stream.next() ?? []
            }
            let length = Int(bytes[2]) << 8 + Int(bytes[3])
            let event = try Array(bytes[4..<(4 + length)]).withUnsafeBytes {
                try ProtobufCodec.shared.decodeWatchEvent($0)
            }
            #expect(event.type == "ADDED" && event.object["data"] == ["k": "v"])
        }
    }

    @Test("watches of a client that is gone are let go at once, though nothing is written")
    func goneClients() async throws {
        try await TestServer.with { server in
            let leaving = try server.client()
            let staying = try server.client()
            var watches: [TestWatch] = []
            for _ in 0..<50 {
                watches.append(
                    try await leaving.watch(maps + "?watch=1&resourceVersion=\(server.store.currentRevision)"))
            }
            func open() async throws -> Int {
                let text = String(decoding: try await staying.get("/metrics").body, as: UTF8.self)
                let line = text.split(separator: "\n").first { $0.hasPrefix("apiserver_longrunning_requests{") }
                return line?.split(separator: " ").last.flatMap { Int($0) } ?? -1
            }
            #expect(try await open() == 50)
            watches = []
            leaving.http.close()
            let deadline = ContinuousClock.now + .seconds(60)
            while try await open() > 0, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
            #expect(try await open() == 0)
        }
    }

    @Test("the deprecated path prefix watches too")
    func pathPrefix() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            try await server.make(.configMaps, configMap("a"))
            let watch = try await client.watch("/api/v1/watch/namespaces/default/configmaps")
            #expect(try await watch.next(1) == ["ADDED a"])
        }
    }

    @Test("many watchers see the same events in the same order")
    func sameOrder() async throws {
        try await TestServer.with { server in
            let client = try server.client()
            let query = maps + "?watch=1&resourceVersion=\(server.store.currentRevision)"
            var watches: [TestWatch] = []
            for _ in 0..<10 { watches.append(try await client.watch(query)) }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for writer in 0..<4 {
                    tasks.addTask {
                        for n in 0..<20 { try await server.make(.configMaps, configMap("w\(writer)-\(n)")) }
                    }
                }
                try await tasks.waitForAll()
            }
            let reference = try await watches[0].next(80)
            for watch in watches.dropFirst() { #expect(try await watch.next(80) == reference) }
        }
    }
}
