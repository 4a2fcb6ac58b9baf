import Glibc
import Reactor
import XDS

/// A secret as a TLS context asks for it (`SdsSecretConfig`).
struct SecretReference: Hashable, Sendable {
    /// Where it comes from; nil for the bootstrap's own.
    var source: ConfigSource?
    var name: String
}

/// What a TLS context was made of besides its own configuration.
struct TLSNeeds: Sendable {
    var secrets: Set<SecretReference> = []
    /// Those of its secrets that were not there yet.
    var missing: Set<SecretReference> = []
    /// Files as they stood when they were read.
    var files: [String: FileStamp] = [:]
    /// Where a name that moves in may mean that one of the files is another.
    var directories: Set<String> = []

    /// It never becomes another.
    var isFixed: Bool { secrets.isEmpty && files.isEmpty }
}

/// By which a file that was replaced is told from the one that was there.
struct FileStamp: Hashable, Sendable {
    private var device: UInt64 = 0
    private var node: UInt64 = 0
    private var size: Int64 = 0
    private var seconds: Int = 0
    private var nanoseconds: Int = 0

    init(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return }
        (device, node, size) = (UInt64(status.st_dev), UInt64(status.st_ino), Int64(status.st_size))
        (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    }
}

/// Finds the secrets and files that a TLS context's configuration names while that is read, and notes them.
final class TLSIngredients {
    private let find: (SecretReference) -> Resource?
    private(set) var needs = TLSNeeds()
    /// Secrets that were read.
    private var nodes: [ConfigNode] = []

    init(_ find: @escaping (SecretReference) -> Resource?) { self.find = find }

    /// The secret that an `SdsSecretConfig` names; nil while there is none.
    func secret(_ node: ConfigNode) throws(ConfigError) -> ConfigNode? {
        let name = node.string("name")
        let source = try node.message("sds_config") { (node) throws(ConfigError) in try ConfigSource(node) }
        let reference = SecretReference(source: source, name: name)
        needs.secrets.insert(reference)
        guard let resource = find(reference) else {
            guard source != nil else { throw node.error("name", "unknown static secret '\(name)'") }
            needs.missing.insert(reference)
            return nil
        }
        let secret = try resource.node()
        nodes.append(secret)
        _ = secret.string("name")
        return secret
    }

    /// What a `core.v3.DataSource` holds.
    func data(_ node: ConfigNode) throws(ConfigError) -> [UInt8] {
        watch(node.message("watched_directory"))
        if node.choice("specifier") == "filename" {
            let path = node.string("filename")
            needs.files[path] = FileStamp(path)
            let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
            needs.directories.insert(parent.isEmpty ? "/" : parent)
        }
        return try DataSource.inline(node)
    }

    func text(_ node: ConfigNode) throws(ConfigError) -> String { String(decoding: try data(node), as: UTF8.self) }

    /// A `core.v3.WatchedDirectory`.
    func watch(_ directory: ConfigNode?) {
        if let directory { needs.directories.insert(directory.string("path")) }
    }

    /// Refuses what stands in a secret and nobody reads.
    func finish() throws(ConfigError) { for node in nodes { try node.finish() } }
}
