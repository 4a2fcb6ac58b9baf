import Bytes
public import JSON
import Reactor
public import TLS

/// Where an API server is and how to prove who one is: one resolved context of a kubeconfig file, or a pod's service account.
public struct KubeConfig: Sendable {
    /// `https://host:port`, optionally with a path prefix.
    public var server: String
    /// PEM; empty trusts the system's authorities.
    public var certificateAuthority: [UInt8]
    /// PEM; empty when no client certificate is used.
    public var clientCertificate: [UInt8]
    public var clientKey: [UInt8]
    public var credential: Credential
    /// The name to check in the server's certificate instead of the URL's host.
    public var tlsServerName: String?
    public var skipsTLSVerify: Bool
    /// The namespace of the context; "default" when it names none.
    public var namespace: String

    public enum Credential: Sendable, Hashable {
        case none
        case token(String)
        /// Read again whenever it is used a minute after the last read: tokens of pods are rotated.
        case tokenFile(String)
    }

    public init(
        server: String, certificateAuthority: [UInt8] = [], clientCertificate: [UInt8] = [], clientKey: [UInt8] = [],
        credential: Credential = .none, tlsServerName: String? = nil, skipsTLSVerify: Bool = false,
        namespace: String = "default"
    ) {
        self.server = server
        self.certificateAuthority = certificateAuthority
        self.clientCertificate = clientCertificate
        self.clientKey = clientKey
        self.credential = credential
        self.tlsServerName = tlsServerName
        self.skipsTLSVerify = skipsTLSVerify
        self.namespace = namespace
    }

    /// Resolves a context of a kubeconfig document (`kind: Config`, YAML already turned into JSON).
    ///
    /// - Parameters:
    ///   - context: nil takes `current-context`.
    ///   - directory: relative file names in the document are relative to it.
    public init(document: JSONValue, context: String? = nil, directory: String) throws(KubeConfigError) {
        guard let contextName = context ?? document["current-context"]?.string, !contextName.isEmpty else {
            throw KubeConfigError("kubeconfig has no current-context; name one")
        }
        let context = try Self.entry("context", contextName, in: document)
        guard let clusterName = context["cluster"]?.string else {
            throw KubeConfigError("context \"\(contextName)\": field cluster is missing")
        }
        let cluster = try Self.entry("cluster", clusterName, in: document)
        guard let server = cluster["server"]?.string, server.hasPrefix("http") else {
            throw KubeConfigError("cluster \"\(clusterName)\": field server must be a URL like https://10.0.0.1:6443")
        }
        var user: JSONValue = [:]
        if let userName = context["user"]?.string, !userName.isEmpty {
            user = try Self.entry("user", userName, in: document)
            for plugin in ["exec", "auth-provider"] where user[plugin] != nil {
                throw KubeConfigError("user \"\(userName)\": credential plugin \"\(plugin)\" is not supported")
            }
        }
        self.init(server: server)
        certificateAuthority = try Self.material("certificate-authority", of: cluster, directory) ?? []
        clientCertificate = try Self.material("client-certificate", of: user, directory) ?? []
        clientKey = try Self.material("client-key", of: user, directory) ?? []
        if let file = user["tokenFile"]?.string {
            credential = .tokenFile(Self.absolute(file, directory))
        } else if let token = user["token"]?.string {
            credential = .token(token)
        }
        tlsServerName = cluster["tls-server-name"]?.string
        skipsTLSVerify = cluster["insecure-skip-tls-verify"]?.bool ?? false
        namespace = context["namespace"]?.string ?? "default"
    }

    /// Another client certificate than it says.
    public mutating func show(_ identity: TLSIdentity) {
        clientCertificate = Array(identity.chain.map(\.pem).joined().utf8)
        clientKey = Array(identity.key.pem.utf8)
    }

    /// A pod's own configuration: the service account files and the environment that the node agent gives.
    ///
    /// - Returns: nil when this process is not in a pod.
    public static func inCluster(
        environment: [String: String], directory: String = "/var/run/secrets/kubernetes.io/serviceaccount"
    ) throws -> KubeConfig? {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], let port = environment["KUBERNETES_SERVICE_PORT"],
            !host.isEmpty
        else { return nil }
        let authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        var config = KubeConfig(server: "https://\(authority)")
        config.certificateAuthority = try Files.read("\(directory)/ca.crt", limit: materialLimit)
        config.credential = .tokenFile("\(directory)/token")
        if let namespace = try? Files.read("\(directory)/namespace", limit: 253) {
            config.namespace = String(decoding: namespace, as: UTF8.self)
        }
        return config
    }

    /// Bytes of a certificate or key file that are read at most.
    static let materialLimit = 1 << 20

    private static func entry(
        _ kind: String, _ name: String, in document: JSONValue
    ) throws(KubeConfigError) -> JSONValue {
        for entry in document["\(kind)s"]?.array ?? [] where entry["name"]?.string == name {
            if let value = entry[kind] { return value }
        }
        throw KubeConfigError("kubeconfig has no \(kind) named \"\(name)\"")
    }

    /// `NAME-data` (base64) or else the file that `NAME` points to.
    private static func material(
        _ name: String, of entry: JSONValue, _ directory: String
    ) throws(KubeConfigError) -> [UInt8]? {
        if let text = entry["\(name)-data"]?.string, !text.isEmpty {
            guard let bytes = Base64.decode(text) else {
                throw KubeConfigError("field \(name)-data is not base64")
            }
            return bytes
        }
        guard let file = entry[name]?.string, !file.isEmpty else { return nil }
        do {
            return try Files.read(absolute(file, directory), limit: materialLimit)
        } catch {
            throw KubeConfigError("field \(name): \(error)")
        }
    }

    private static func absolute(_ file: String, _ directory: String) -> String {
        file.hasPrefix("/") ? file : "\(directory)/\(file)"
    }
}

/// Why a kubeconfig cannot be used, as a sentence that names the field.
public struct KubeConfigError: Error, CustomStringConvertible, Sendable {
    public let description: String

    init(_ description: String) { self.description = description }
}
