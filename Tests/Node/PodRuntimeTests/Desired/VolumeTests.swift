import Bytes
import Glibc
import JSON
import Reactor
import Testing

@testable import PodRuntime

@Suite("volumes made of files")
struct VolumeTests {
    private func payload(
        _ volume: JSONValue, _ objects: VolumePayload.Objects = VolumePayload.Objects(), metadata: JSONValue = [:]
    ) throws -> VolumePayload {
        var volume = volume
        volume["name"] = "v"
        let pod = try PodFixture.spec(spec: ["volumes": [volume]], metadata: metadata)
        guard case .files(let sources, let mode) = pod.volumes[0].source else {
            throw VolumePayload.Failure(description: "not files")
        }
        return try VolumePayload(
            sources, defaultMode: mode, pod: pod, facts: PodFacts(podIPs: ["10.1.0.9"]),
            capacity: ResourceRequirements.Amounts(), objects: objects)
    }

    private func texts(_ payload: VolumePayload) -> [String: String] {
        payload.files.mapValues { "\(String($0.mode, radix: 8)) \(String(decoding: $0.bytes, as: UTF8.self))" }
    }

    private var objects: VolumePayload.Objects {
        var objects = VolumePayload.Objects()
        objects.configMaps["c"] = ["a": Array("A".utf8), "b": Array("B".utf8)]
        objects.secrets["s"] = ["k": Array("K".utf8)]
        objects.tokens["token"] = "T"
        return objects
    }

    @Test("keys become files, all of them or those that are named, with their modes")
    func keys() throws {
        #expect(try texts(payload(["configMap": ["name": "c"]], objects)) == ["a": "644 A", "b": "644 B"])
        let items: JSONValue = [["key": "a", "path": "x/y"], ["key": "b", "path": "b", "mode": 511]]
        let chosen: JSONValue = ["configMap": ["name": "c", "defaultMode": 256, "items": items]]
        #expect(try texts(payload(chosen, objects)) == ["x/y": "400 A", "b": "777 B"])
        #expect(try texts(payload(["secret": ["secretName": "s"]], objects)) == ["k": "644 K"])
    }

    @Test("a projected volume gathers many sources in one folder")
    func projected() throws {
        let downward: JSONValue = [
            ["path": "namespace", "fieldRef": ["fieldPath": "metadata.namespace"]],
            ["path": "labels", "fieldRef": ["fieldPath": "metadata.labels"]],
        ]
        let sources: JSONValue = [
            ["serviceAccountToken": ["path": "token"]],
            ["configMap": ["name": "c", "items": [["key": "a", "path": "ca.crt"]]]],
            ["secret": ["name": "none", "optional": true]], ["downwardAPI": ["items": downward]],
        ]
        let result = try payload(
            ["projected": ["sources": sources]], objects, metadata: ["labels": ["b": "2", "a": "say \"1\""]])
        #expect(
            texts(result) == [
                "token": "644 T", "ca.crt": "644 A", "namespace": "644 shop",
                "labels": "644 a=\"say \\\"1\\\"\"\nb=\"2\"",
            ])
    }

    @Test("what is missing is said, unless it is optional")
    func missing() throws {
        #expect(throws: VolumePayload.Failure(description: "configmap \"none\" not found")) {
            try payload(["configMap": ["name": "none"]], objects)
        }
        #expect(try payload(["configMap": ["name": "none", "optional": true]], objects).files.isEmpty)
        #expect(throws: VolumePayload.Failure(description: "references non-existent secret key: z")) {
            try payload(["secret": ["secretName": "s", "items": [["key": "z", "path": "z"]]]], objects)
        }
    }

    @Test("no path leads out of the volume", arguments: ["../x", "/x", "a/../../b", "", "..data", "a//b", "."])
    func climbing(path: String) throws {
        let volume: JSONValue = ["configMap": ["name": "c", "items": [["key": "a", "path": .string(path)]]]]
        #expect(throws: VolumePayload.Failure.self) { try payload(volume, objects) }
    }

    @Test("data of objects is text in a ConfigMap and base64 in a Secret")
    func content() {
        let map: JSONValue = ["data": ["a": "x"], "binaryData": ["b": "AAE="]]
        #expect(VolumePayload.content(map, isSecret: false) == ["a": [0x78], "b": [0, 1]])
        #expect(VolumePayload.content(["data": ["a": "eA=="]], isSecret: true) == ["a": [0x78]])
    }

    @Test("readers see the old files or the new ones, never a mixture; what is unchanged is not written")
    func atomic() throws {
        var template = Array("/tmp/weft-volume-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        defer { try? Files.removeTree(directory) }
        let volume = AtomicVolume(directory: directory, group: nil)
        var first = VolumePayload()
        first.files = [
            "a": VolumePayload.File(bytes: [1], mode: 0o600), "d/e": VolumePayload.File(bytes: [2], mode: 0o644),
            "gone": VolumePayload.File(bytes: [3], mode: 0o644),
        ]
        #expect(try volume.write(first, stamp: "1"))
        #expect(try !volume.write(first, stamp: "2"))
        #expect(Directory.names(directory) == ["..1", "..data", "a", "d", "gone"])
        #expect(try Files.read(directory + "/d/e") == [2])
        var info = stat()
        #expect(stat(directory + "/a", &info) == 0 && info.st_mode & 0o777 == 0o600)
        let before = open(directory + "/a", O_RDONLY)
        defer { close(before) }
        var second = VolumePayload()
        second.files = [
            "a": VolumePayload.File(bytes: [9], mode: 0o600), "d/f": VolumePayload.File(bytes: [8], mode: 0o644),
        ]
        // What a crash in the middle left does not stay.
        try Directory.make(directory + "/..half")
        #expect(try volume.write(second, stamp: "3"))
        #expect(Directory.names(directory) == ["..3", "..data", "a", "d"])
        #expect(try Files.read(directory + "/a") == [9])
        var byte: UInt8 = 0
        #expect(read(before, &byte, 1) == 1 && byte == 1)
    }
}
