import Bytes
import JSON

/// The files that a configMap, secret, downwardAPI or projected volume shows, as values.
public struct VolumePayload: Sendable, Equatable {
    public struct File: Sendable, Equatable {
        public var bytes: [UInt8]
        public var mode: UInt32
    }

    /// By path relative to the volume; never absolute, never with a `..` component.
    public var files: [String: File]

    public init() { files = [:] }

    /// More bytes than this in one volume are refused; the API server allows 1 MiB an object.
    static let sizeLimit = 16 << 20

    public struct Failure: Error, Equatable, CustomStringConvertible {
        public var description: String
    }

    /// What the sources refer to, fetched beforehand.
    public struct Objects: Sendable {
        /// Keys to content; a missing entry is an object that does not exist.
        public var configMaps: [String: [String: [UInt8]]] = [:]
        public var secrets: [String: [String: [UInt8]]] = [:]
        /// Token text by the path that it is shown under.
        public var tokens: [String: String] = [:]

        public init() {}
    }

    public init(
        _ sources: [FileSource], defaultMode: UInt32, pod: PodSpec, facts: PodFacts,
        capacity: ResourceRequirements.Amounts, objects: Objects
    ) throws(Failure) {
        files = [:]
        for source in sources {
            switch source {
            case .configMap(let name, let items, let optional):
                try add(objects.configMaps[name], "configmap", name, items, optional, defaultMode)
            case .secret(let name, let items, let optional):
                try add(objects.secrets[name], "secret", name, items, optional, defaultMode)
            case .downward(let items):
                for item in items {
                    let value: String?
                    if case .field(let path) = item.source {
                        value = facts.field(path, of: pod)
                    } else {
                        value = EnvironmentBuilder.resource(item.source, of: pod, default: nil, capacity: capacity)
                    }
                    guard let value else {
                        throw Failure(
                            description: "downwardAPI item \"\(item.path)\" names a field that does not exist")
                    }
                    try add(item.path, Array(value.utf8), item.mode ?? defaultMode)
                }
            case .token(let path, _, _):
                guard let token = objects.tokens[path] else {
                    throw Failure(description: "token for \"\(path)\" could not be had")
                }
                try add(path, Array(token.utf8), defaultMode)
            }
        }
        guard files.values.reduce(0, { $0 + $1.bytes.count }) <= Self.sizeLimit else {
            throw Failure(description: "volume content exceeds \(Self.sizeLimit) bytes")
        }
    }

    private mutating func add(
        _ data: [String: [UInt8]]?, _ kind: String, _ name: String, _ items: [FileSource.KeyPath], _ optional: Bool,
        _ defaultMode: UInt32
    ) throws(Failure) {
        guard let data else {
            if optional { return }
            throw Failure(description: "\(kind) \"\(name)\" not found")
        }
        if items.isEmpty {
            for (key, bytes) in data { try add(key, bytes, defaultMode) }
            return
        }
        for item in items {
            guard let bytes = data[item.key] else {
                if optional { continue }
                throw Failure(description: "references non-existent \(kind) key: \(item.key)")
            }
            try add(item.path, bytes, item.mode ?? defaultMode)
        }
    }

    private mutating func add(_ path: String, _ bytes: [UInt8], _ mode: UInt32) throws(Failure) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        // ".." names are the volume's own machinery; the rest would climb out of the volume.
        guard !path.isEmpty, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }),
            parts.first?.hasPrefix("..") != true
        else {
            throw Failure(description: "path \"\(path)\" must be relative and must not contain \"..\"")
        }
        files[path] = File(bytes: bytes, mode: mode)
    }

    /// The data of a ConfigMap or Secret object as bytes by key.
    public static func content(_ object: JSONValue, isSecret: Bool) -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for (key, value) in object["data"]?.object ?? JSONObject() {
            guard let text = value.string else { continue }
            result[key] = isSecret ? Base64.decode(text) ?? [] : Array(text.utf8)
        }
        for (key, value) in object["binaryData"]?.object ?? JSONObject() {
            if let text = value.string { result[key] = Base64.decode(text) ?? [] }
        }
        return result
    }
}
