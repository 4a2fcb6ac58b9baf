import Bytes
import Reactor
import TLS

/// An authority as it lies in a folder, in Istio's files: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`.
struct MeshAuthorityFiles {
    let folder: String
    /// Opens keys that are encrypted, and encrypts those that are written.
    let passphrase: MeshPassphrase

    static let certificate = "ca-cert.pem"
    static let key = "ca-key.pem"
    static let chain = "cert-chain.pem"
    static let roots = "root-cert.pem"

    /// - Parameter now: Nil takes what is out of date, too.
    func read(now: Timestamp? = .now()) throws(MeshAuthority.Invalid) -> MeshAuthority {
        let own = try certificates(Self.certificate)
        guard own.count == 1 else {
            throw MeshAuthority.Invalid("\(folder)/\(Self.certificate) holds \(own.count) certificates, not one")
        }
        // Without intermediates nobody needs it.
        let chain = Files.exists(path(Self.chain)) ? try certificates(Self.chain) : []
        do {
            return try MeshAuthority(
                certificate: own[0], key: try key(Self.key), chain: chain, roots: try certificates(Self.roots), now: now
            )
        } catch { throw MeshAuthority.Invalid("\(folder): \(error)") }
    }

    func key(_ name: String) throws(MeshAuthority.Invalid) -> PrivateKey {
        let pem = try text(name)
        guard PrivateKey.isEncrypted(pem: pem) else {
            do throws(TLSError) { return try PrivateKey(pem: pem) } catch {
                throw MeshAuthority.Invalid("\(path(name)): \(error)")
            }
        }
        let passphrase = try passphrase.read()
        do throws(TLSError) { return try PrivateKey(pem: pem, password: passphrase) } catch {
            throw MeshAuthority.Invalid(
                "\(path(name)) is encrypted, and the passphrase in \(self.passphrase.path) does not open it"
                    + " (--mesh-ca-passphrase-file names another)")
        }
    }

    private func certificates(_ name: String) throws(MeshAuthority.Invalid) -> [Certificate] {
        let pem = try text(name)
        do throws(TLSError) { return try Certificate.chain(pem: pem) } catch {
            throw MeshAuthority.Invalid("\(path(name)): \(error)")
        }
    }

    private func text(_ name: String) throws(MeshAuthority.Invalid) -> String {
        do throws(SystemError) { return try Files.readText(path(name), limit: 1 << 20) } catch {
            throw MeshAuthority.Invalid("\(error)")
        }
    }

    // MARK: Writing

    func write(_ authority: MeshAuthority) throws {
        try writePublic(Self.roots, authority.roots)
        try writePublic(Self.chain, authority.issuer.chain)
        try writePublic(Self.certificate, [authority.issuer.certificate])
        try write(Self.key, authority.issuer.key)
    }

    func write(_ name: String, _ key: PrivateKey) throws {
        try Files.writeAtomically(path(name), try key.pem(encryptedWith: passphrase.read()), mode: 0o600, sync: true)
    }

    private func writePublic(_ name: String, _ certificates: [Certificate]) throws {
        try Files.writeAtomically(path(name), certificates.map(\.pem).joined(), sync: true)
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }
}

/// What encrypts the authority's keys: in a file of its own, so that a copy of the keys' folder alone is worth nothing.
public struct MeshPassphrase: Sendable {
    public let path: String

    public init(path: String) { self.path = path }

    func read() throws(MeshAuthority.Invalid) -> String {
        let text: String
        do throws(SystemError) { text = try Files.readText(path, limit: 1 << 16) } catch {
            throw MeshAuthority.Invalid("\(error): the file that has the passphrase of the mesh authority's keys")
        }
        // Editors end a file with a line break that belongs to nothing.
        let line = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)[0]
        guard !line.isEmpty else { throw MeshAuthority.Invalid("\(path): a passphrase must not be empty") }
        return String(line)
    }

    /// A random one, where there is none yet.
    func create() throws {
        guard !Files.exists(path) else { return }
        try Files.writeAtomically(path, Hex.encode(SecureRandom.bytes(32)) + "\n", mode: 0o600, sync: true)
    }
}
