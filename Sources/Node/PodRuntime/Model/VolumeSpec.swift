import JSON

/// One volume of a pod and where its content comes from.
public struct VolumeSpec: Sendable, Equatable {
    public enum Source: Sendable, Equatable {
        /// `limit` in bytes, nil for none; `inMemory` for `medium: Memory`.
        case emptyDir(inMemory: Bool, limit: UInt64?)
        case hostPath(path: String, type: String)
        /// Everything that is a set of small files made from API objects.
        case files([FileSource], defaultMode: UInt32)
        /// A driver of this node's fills it.
        case driven(driver: String)
        case unsupported(kind: String)
    }
    public var name: String
    public var source: Source
}

/// One origin of files in a configMap, secret, downwardAPI or projected volume.
public enum FileSource: Sendable, Equatable {
    case configMap(name: String, items: [KeyPath], optional: Bool)
    case secret(name: String, items: [KeyPath], optional: Bool)
    case downward([DownwardFile])
    /// `expiration` in seconds.
    case token(path: String, audience: String, expiration: Int64)

    /// A key of the object, and the file it becomes; `mode` nil takes the volume's.
    public struct KeyPath: Sendable, Equatable {
        public var key: String
        public var path: String
        public var mode: UInt32?
    }

    public struct DownwardFile: Sendable, Equatable {
        public var path: String
        public var source: EnvironmentEntry.Source
        public var mode: UInt32?
    }
}

extension VolumeSpec {
    init(json: JSONValue) throws(PodSpecError) {
        name = try PodSpec.pathSafe(json["name"]?.string, "spec.volumes.name")
        if let source = json["configMap"] {
            self.source = .files(
                [FileSource(configMap: source)], defaultMode: Self.mode(source["defaultMode"]) ?? 0o644)
        } else if let source = json["secret"] {
            self.source = .files(
                [FileSource(secret: source, nameField: "secretName")],
                defaultMode: Self.mode(source["defaultMode"]) ?? 0o644)
        } else if let source = json["downwardAPI"] {
            self.source = .files([FileSource(downward: source)], defaultMode: Self.mode(source["defaultMode"]) ?? 0o644)
        } else if let source = json["projected"] {
            let files = source["sources"].elements.compactMap(FileSource.init(projection:))
            self.source = .files(files, defaultMode: Self.mode(source["defaultMode"]) ?? 0o644)
        } else if let source = json["hostPath"] {
            self.source = .hostPath(path: source["path"]?.string ?? "", type: source["type"]?.string ?? "")
        } else if let source = json["csi"] {
            self.source = .driven(driver: source["driver"]?.string ?? "")
        } else if let other = json.object?.keys.first(where: { $0 != "name" && $0 != "emptyDir" }) {
            source = .unsupported(kind: other)
        } else {
            let source = json["emptyDir"]
            let limit = source?["sizeLimit"].flatMap(ResourceRequirements.bytes)
            self.source = .emptyDir(inMemory: source?["medium"]?.string == "Memory", limit: limit)
        }
    }

    fileprivate static func mode(_ json: JSONValue?) -> UInt32? {
        json?.int.flatMap { UInt32(exactly: $0) }.map { $0 & 0o777 }
    }
}

extension FileSource {
    fileprivate init(configMap json: JSONValue) {
        self = .configMap(
            name: json["name"]?.string ?? "", items: Self.items(json), optional: json["optional"]?.bool ?? false)
    }

    fileprivate init(secret json: JSONValue, nameField: String) {
        self = .secret(
            name: json[nameField]?.string ?? "", items: Self.items(json), optional: json["optional"]?.bool ?? false)
    }

    fileprivate init(downward json: JSONValue) {
        self = .downward(
            json["items"].elements.compactMap { item in
                guard let path = item["path"]?.string else { return nil }
                let source: EnvironmentEntry.Source
                if let field = item["fieldRef"]?["fieldPath"]?.string {
                    source = .field(path: field)
                } else if let reference = item["resourceFieldRef"], let resource = reference["resource"]?.string {
                    source = .resource(
                        container: reference["containerName"]?.string ?? "", resource: resource,
                        divisor: reference["divisor"]?.string ?? "0")
                } else {
                    return nil
                }
                return DownwardFile(path: path, source: source, mode: VolumeSpec.mode(item["mode"]))
            })
    }

    fileprivate init?(projection json: JSONValue) {
        if let source = json["configMap"] {
            self.init(configMap: source)
        } else if let source = json["secret"] {
            self.init(secret: source, nameField: "name")
        } else if let source = json["downwardAPI"] {
            self.init(downward: source)
        } else if let source = json["serviceAccountToken"] {
            self = .token(
                path: source["path"]?.string ?? "token", audience: source["audience"]?.string ?? "",
                expiration: max(600, source["expirationSeconds"]?.int ?? 3600))
        } else {
            return nil
        }
    }

    private static func items(_ json: JSONValue) -> [KeyPath] {
        json["items"].elements.compactMap { item in
            guard let key = item["key"]?.string, let path = item["path"]?.string else { return nil }
            return KeyPath(key: key, path: path, mode: VolumeSpec.mode(item["mode"]))
        }
    }
}
