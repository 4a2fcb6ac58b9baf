import Bytes
import Reactor
import TLS
import Telemetry
import TestSupport
import Testing

@testable import MeshControl

/// Authorities made by openssl, in Istio's files.
@Suite("An authority of one's own", .ownThreads)
struct BroughtAuthorityTests {
    private let folder: ScratchFolder
    private let passphrase: MeshPassphrase

    init() throws {
        folder = try ScratchFolder()
        passphrase = MeshPassphrase(path: folder.path + "/passphrase")
        try Files.writeAtomically(passphrase.path, "correct horse\n", mode: 0o600)
        try OpenSSL.script(
            """
            cd \(folder.path)
            authority="-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root-key.pem -out root-cert.pem \
                -days 3650 -subj "/O=Example/CN=Example Root"
            for level in middle ca; do
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $level-key.pem -out $level.csr \
                    -subj "/O=Example/CN=Example $level"
            done
            printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign,cRLSign\\n' > ca.ext
            openssl x509 -req -in middle.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -days 1000 \
                -extfile ca.ext -out middle-cert.pem
            openssl x509 -req -in ca.csr -CA middle-cert.pem -CAkey middle-key.pem -CAcreateserial -days 300 \
                -extfile ca.ext -out ca-cert.pem
            cat ca-cert.pem middle-cert.pem root-cert.pem > cert-chain.pem
            """)
    }

    private var files: MeshAuthorityFiles { MeshAuthorityFiles(folder: folder.path, passphrase: passphrase) }

    private static let cart = "spiffe://cluster.local/ns/shop/sa/cart"

    @Test("root and two intermediates are taken, and openssl verifies what is issued")
    func taken() throws {
        let authority = try files.read()
        #expect(authority.issuer.intermediates.map(\.subject.commonName) == ["Example middle"])
        let leaf = try authority.certify(
            try PrivateKey.generate().publicKey, as: try #require(.init(Self.cart)), lifetime: 3600)
        let answer = authority.answer(leaf)
        #expect(answer.chain.count == 4)
        try Files.writeAtomically(folder.path + "/leaf.pem", answer.chain[0])
        try Files.writeAtomically(folder.path + "/above.pem", answer.chain[1] + answer.chain[2])
        let verdict = try OpenSSL.run(
            "verify", "-CAfile", folder.path + "/root-cert.pem", "-untrusted", folder.path + "/above.pem",
            folder.path + "/leaf.pem")
        #expect(verdict.output.contains(": OK"), "\(verdict.output)")
    }

    @Test("an encrypted key is opened with the passphrase")
    func encrypted() throws {
        try OpenSSL.script(
            """
            cd \(folder.path)
            openssl pkcs8 -topk8 -in ca-key.pem -out new.pem -v2 aes-256-cbc -passout "pass:correct horse"
            mv new.pem ca-key.pem
            """)
        #expect(try files.read().issuer.certificate.subject.commonName == "Example ca")
    }

    @Test("several roots are trusted, the issuer's own first")
    func severalRoots() throws {
        try OpenSSL.script(
            """
            cd \(folder.path)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other.pem \
                -days 10 -subj "/CN=Other Root"
            cat root-cert.pem >> other.pem
            mv other.pem root-cert.pem
            """)
        #expect(try files.read().roots.map(\.subject.commonName) == ["Example Root", "Other Root"])
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var script: String
        var words: String
        init(_ name: String, _ script: String, says words: String) {
            (testDescription, self.script, self.words) = (name, script, words)
        }
    }

    @Test(
        "what does not fit is told by file and reason",
        arguments: [
            Fault("a file is missing", "rm root-cert.pem", says: "root-cert.pem: No such file"),
            Fault(
                "the key is another's", "cp middle-key.pem ca-key.pem", says: "ca-key.pem is not the key of ca-cert.pem"
            ),
            Fault("the key is no key", "echo nothing > ca-key.pem", says: "ca-key.pem: no usable private key"),
            Fault("the certificate is none", "echo nothing > ca-cert.pem", says: "ca-cert.pem: no certificate"),
            Fault(
                "the chain has a hole", "cp ca-cert.pem cert-chain.pem",
                says: "cert-chain.pem leads to no root of root-cert.pem: \"O=Example, CN=Example ca\" was signed by"
                    + " \"O=Example, CN=Example middle\""),
            Fault(
                "the root is another's",
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x -out root-cert.pem -days 9 -subj /CN=Stranger; cat ca-cert.pem middle-cert.pem > cert-chain.pem",
                says: "leads to no root of root-cert.pem"),
            Fault(
                "the issuer has expired",
                "openssl x509 -req -in ca.csr -CA middle-cert.pem -CAkey middle-key.pem -CAcreateserial -days -1 -extfile ca.ext -out ca-cert.pem",
                says: "ca-cert.pem: \"O=Example, CN=Example ca\" expired at 20"),
            Fault(
                "the issuer may not issue",
                "openssl x509 -req -in ca.csr -CA middle-cert.pem -CAkey middle-key.pem -CAcreateserial -days 9 -out ca-cert.pem",
                says: "may not sign others"),
            Fault(
                "the passphrase is another",
                "openssl pkcs8 -topk8 -in ca-key.pem -out new.pem -v2 aes-256-cbc -passout pass:other; mv new.pem ca-key.pem",
                says: "ca-key.pem is encrypted, and the passphrase in"),
        ])
    func faults(fault: Fault) throws {
        try OpenSSL.script("cd \(folder.path)\n\(fault.script)")
        let error = #expect(throws: MeshAuthority.Invalid.self) { try files.read() }
        #expect(error?.description.contains(fault.words) ?? false, "\(error?.description ?? "")")
    }
}

enum OpenSSL {
    static func run(_ arguments: String...) throws -> (output: String, status: Int32) {
        try ChildCommand(["openssl"] + arguments).finish()
    }

    static func script(_ text: String) throws {
        let result = try ChildCommand(["/bin/sh", "-e", "-c", text]).finish()
        try #require(result.status == 0, "\(result.output)")
    }

    /// Of a file.
    static func mode(_ path: String) throws -> Int {
        let result = try ChildCommand(["stat", "-L", "-c", "%a", path]).finish()
        return try #require(Int(result.output.filter(\.isNumber), radix: 8))
    }
}
