import Glibc
import MeshControl
import Reactor
import TLS

/// A certificate as a workload has it, in files for whoever connects as that.
enum WorkloadFiles {
    /// - Parameters:
    ///   - server: What proves the server's name.
    ///   - folder: Where `roots.pem`, `cert.pem` and `key.pem` will be.
    static func write(_ authority: MeshAuthority, trusting server: Certificate, to folder: String) throws {
        try Files.makeDirectories(folder, mode: 0o700)
        let key = try PrivateKey.generate()
        let template = CertificateTemplate(
            subject: DistinguishedName(commonName: ""), names: AlternativeNames(uris: [MeshCluster.identity]),
            purpose: .peer, lifetime: 86_400)
        let leaf = try authority.issuer.issue(template, for: key.publicKey)
        try Files.writeAtomically(
            folder + "/cert.pem", ([leaf] + authority.issuer.chain).map(\.pem).joined(), mode: 0o600)
        try Files.writeAtomically(folder + "/key.pem", key.pem, mode: 0o600)
        try Files.writeAtomically(folder + "/roots.pem", server.pem, mode: 0o600)
    }
}
