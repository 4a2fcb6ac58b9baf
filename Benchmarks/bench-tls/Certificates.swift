import Reactor
import TLS

/// One self-made authority, and a certificate of each kind of key, in a folder for all servers.
enum Certificates {
    static let names = ["ecdsa", "rsa"]

    static func write(to folder: String) throws {
        let authority = try CertificateAuthority.create(commonName: "bench")
        for name in names {
            let key = try PrivateKey.generate(name == "rsa" ? .rsa(bits: 2048) : .p256)
            let template = CertificateTemplate(
                subject: DistinguishedName(commonName: "bench.test"),
                names: AlternativeNames(dns: ["bench.test"], addresses: [.loopbackV4]), purpose: .server)
            let certificate = try authority.issue(template, for: key.publicKey)
            try Files.writeAtomically("\(folder)/\(name).pem", certificate.pem)
            try Files.writeAtomically("\(folder)/\(name).key", key.pem)
            // HAProxy wants both in one file.
            try Files.writeAtomically("\(folder)/\(name).both", certificate.pem + key.pem)
        }
    }
}
