import ClusterAPI
import ClusterClient
import JSON
import Reactor
import Synchronization
import Testing

@Suite struct InformerTests {
    final class Story: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    /// Runs an informer against a script until `isDone` holds, and gives back what it told.
    func tell(
        _ transport: ScriptedTransport, until isDone: @escaping @Sendable (Informer<KubeObject>, [String]) -> Bool,
        then check: @escaping @Sendable (Informer<KubeObject>) -> Void = { _ in }
    ) async throws -> [String] {
        let group = try EventLoopGroup(count: 1)
        let story = Story()
        let informer = Informer<KubeObject>(KubeClient(transport), .pods)
        informer.addIndex("app") { _, pod in pod.label("app").map { [$0] } ?? [] }
        informer.onEvent { event in
            switch event {
            case .added(let key, _): story.add("+\(key.name)")
            case .updated(let key, let old, let new):
                story.add("~\(key.name) \(old.resourceVersion)>\(new.resourceVersion)")
            case .deleted(let key, _): story.add("-\(key.name)")
            case .synced: story.add("synced")
            }
        }
        let loop = group.next
        let running = loop.task { await informer.run() }
        try await withTimeout(.seconds(60), on: loop) {
            while !isDone(informer, story.all) { try await loop.sleep(for: .milliseconds(2)) }
        }
        check(informer)
        running.cancel()
        await running.value
        await group.shutdown()
        return story.all
    }

    @Test("a WatchList stream fills the store, and its bookmark says when")
    func watchList() async throws {
        let transport = ScriptedTransport(watches: [
            .stream(
                .init(
                    events: [
                        .pod(.added, "a", version: 3), .pod(.added, "b", version: 5), .bookmark(7, endsInitial: true),
                        .pod(.modified, "a", version: 8), .pod(.deleted, "b", version: 9),
                    ], end: .open))
        ])
        let story = try await tell(transport) { informer, story in story.last == "-b" }
        #expect(story == ["+a", "+b", "synced", "~a 3>8", "-b"])
        let parameters = Dictionary(transport.requests[0].parameters.map { ($0.name, $0.value) }) { $1 }
        #expect(parameters["sendInitialEvents"] == "true")
        #expect(parameters["resourceVersionMatch"] == "NotOlderThan")
        #expect(parameters["resourceVersion"] == nil)
    }

    @Test("a server without WatchList is listed in pages, then watched from the list's version")
    func plainList() async throws {
        let transport = ScriptedTransport(
            watches: [
                .refusal(.badRequest("sendInitialEvents is forbidden")),
                .stream(.init(events: [.pod(.added, "c", version: 12)], end: .open)),
            ],
            lists: [
                [
                    "kind": "PodList", "apiVersion": "v1", "metadata": ["resourceVersion": "10", "continue": "more"],
                    "items": [["metadata": ["namespace": "n", "name": "a", "resourceVersion": "1"]]],
                ],
                [
                    "kind": "PodList", "apiVersion": "v1", "metadata": ["resourceVersion": "10"],
                    "items": [["metadata": ["namespace": "n", "name": "b", "resourceVersion": "2"]]],
                ],
            ])
        let story = try await tell(transport) { _, story in story.last == "+c" }
        #expect(story == ["+a", "+b", "synced", "+c"])
        #expect(transport.requests[2].parameters.contains { $0 == ("continue", "more") })
        #expect(transport.requests[3].parameters.contains { $0 == ("resourceVersion", "10") })
    }

    @Test("a broken stream is resumed from the last version seen, and nothing is told twice")
    func resume() async throws {
        let transport = ScriptedTransport(watches: [
            .stream(
                .init(
                    events: [
                        .pod(.added, "a", version: 3), .bookmark(7, endsInitial: true), .pod(.added, "b", version: 8),
                    ], end: .broken)),
            .stream(.init(events: [.bookmark(20)], end: .orderly)),
            .stream(.init(events: [.pod(.modified, "b", version: 21)], end: .open)),
        ])
        let story = try await tell(transport) { _, story in story.last == "~b 8>21" }
        #expect(story == ["+a", "synced", "+b", "~b 8>21"])
        #expect(transport.requests[1].parameters.contains { $0 == ("resourceVersion", "8") })
        #expect(transport.requests[2].parameters.contains { $0 == ("resourceVersion", "20") })
    }

    @Test("when history is gone everything is read again, and only differences are told")
    func expired() async throws {
        let transport = ScriptedTransport(watches: [
            .stream(
                .init(
                    events: [
                        .pod(.added, "a", version: 3), .pod(.added, "b", version: 4), .bookmark(7, endsInitial: true),
                    ], end: .broken)),
            .stream(.init(events: [.failure(.expired("too old"))], end: .orderly)),
            .stream(
                .init(
                    events: [
                        .pod(.added, "a", version: 3), .pod(.added, "c", version: 30), .bookmark(31, endsInitial: true),
                    ], end: .open)),
        ])
        let story = try await tell(transport) { _, story in story.last == "-b" }
        #expect(story == ["+a", "+b", "synced", "+c", "-b"])
        #expect(!transport.requests[2].parameters.contains { $0.name == "resourceVersion" })
    }

    @Test("a stream that breaks before the initial events are complete starts over")
    func brokenInitial() async throws {
        let transport = ScriptedTransport(watches: [
            .stream(.init(events: [.pod(.added, "a", version: 3)], end: .broken)),
            .stream(.init(events: [.pod(.added, "b", version: 4), .bookmark(7, endsInitial: true)], end: .open)),
        ])
        let story = try await tell(transport) { _, story in story.contains("synced") }
        #expect(story == ["+a", "+b", "-a", "synced"])
        #expect(transport.requests[1].parameters.contains { $0.name == "sendInitialEvents" })
    }

    @Test("an index follows its terms")
    func index() async throws {
        let transport = ScriptedTransport(watches: [
            .stream(
                .init(
                    events: [
                        .pod(.added, "a", version: 1, labels: ["app": "x"]),
                        .pod(.added, "b", version: 2, labels: ["app": "x"]),
                        .bookmark(3, endsInitial: true), .pod(.modified, "a", version: 4, labels: ["app": "y"]),
                        .pod(.deleted, "b", version: 5),
                    ], end: .open))
        ])
        _ = try await tell(transport) { _, story in
            story.last == "-b"
        } then: { informer in
            #expect(informer.indexed("app", "x").isEmpty)
            #expect(informer.indexed("app", "y").map(\.name) == ["a"])
            #expect(informer.count == 1)
        }
    }
}
