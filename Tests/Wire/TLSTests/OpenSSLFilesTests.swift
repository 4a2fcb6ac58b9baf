import Bytes
import Glibc
import Reactor
import Testing

@testable import TLS

/// Files that the openssl program makes, as an operator would.
@Suite("Keys and certificates of others", .enabled(if: access("/usr/bin/openssl", X_OK) == 0))
struct OpenSSLFilesTests {
    private func inFolder(_ script: String, _ body: (String) throws -> Void) async throws {
        let folder = "/tmp/weft-tls-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories(folder)
        defer { try? Files.removeTree(folder) }
        let group = try EventLoopGroup(count: 1, name: "openssl")
        var configuration = ChildProcess.Configuration(["sh", "-ec", script])
        configuration.workingDirectory = folder
        let outcome: Result<ChildProcess.Output, any Error>
        do {
            outcome = .success(
                try await ChildProcess.run(configuration, on: group.all[0], timeout: .seconds(60)))
        } catch { outcome = .failure(error) }
        await group.shutdown()
        let output = try outcome.get()
        try #require(output.status.isSuccess, "\(output.errorText)")
        try body(folder)
    }

    private static func text(_ path: String) throws -> String { String(decoding: try Files.read(path), as: UTF8.self) }

    private static let selfSigned =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 30 -subj '/O=x/CN=a.test' -addext 'subjectAltName=DNS:a.test'"

    @Test("a key under a password opens with it alone, in both of its forms")
    func passwords() async throws {
        try await inFolder(
            """
            \(Self.selfSigned)
            openssl pkcs8 -topk8 -in key.pem -out pkcs8.pem -passout pass:secret
            openssl ec -in key.pem -aes256 -out sec1.pem -passout pass:secret
            """
        ) { folder in
            let certificate = try Self.text("\(folder)/cert.pem")
            for file in ["pkcs8.pem", "sec1.pem"] {
                let key = try Self.text("\(folder)/\(file)")
                let identity = try TLSIdentity(certificatePEM: certificate, keyPEM: key, password: "secret")
                #expect(identity.leaf.subjectText == "CN=a.test,O=x")
                for wrong in ["Secret", "", nil] {
                    #expect(throws: TLSError.self) { try PrivateKey(pem: key, password: wrong) }
                }
            }
        }
    }

    @Test("a PKCS#12 file holds key, leaf and chain")
    func pkcs12() async throws {
        try await inFolder(
            """
            \(Self.selfSigned)
            openssl pkcs12 -export -in cert.pem -inkey key.pem -certfile cert.pem -out one.p12 -passout pass:secret
            openssl pkcs12 -export -in cert.pem -nokeys -out none.p12 -passout pass:
            """
        ) { folder in
            let bytes = try Files.read("\(folder)/one.p12")
            let identity = try TLSIdentity(pkcs12: bytes, password: "secret")
            #expect(identity.leaf == (try Certificate(pem: Self.text("\(folder)/cert.pem"))))
            #expect(throws: TLSError.self) { try TLSIdentity(pkcs12: bytes, password: "wrong") }
            #expect(throws: TLSError.self) { try TLSIdentity(pkcs12: Array(bytes.dropLast()), password: "secret") }
            #expect(throws: TLSError.self) { try TLSIdentity(pkcs12: Files.read("\(folder)/none.p12")) }
        }
    }

    @Test("other names are read with their type")
    func otherNames() async throws {
        try await inFolder(
            """
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -subj /CN=x \
              -addext 'subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:user@corp.test,email:x@y.test'
            """
        ) { folder in
            let names = try Certificate(pem: Self.text("\(folder)/cert.pem")).alternativeNames
            #expect(names.others == [.init(oid: "1.3.6.1.4.1.311.20.2.3", value: "user@corp.test")])
            #expect(names.emails == ["x@y.test"])
            let matcher = NameMatcher(.other(oid: "1.3.6.1.4.1.311.20.2.3"), .suffix("@corp.test"))
            #expect(matcher.matches(names))
        }
    }

    @Test("an RSA certificate whose key is not for signatures is refused where key usage is enforced")
    func keyUsage() async throws {
        let request = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -addext subjectAltName=DNS:a.test"
        try await inFolder(
            """
            \(request) -keyout sign.key -out sign.pem -subj /CN=sign -addext keyUsage=digitalSignature
            \(request) -keyout encipher.key -out encipher.pem -subj /CN=encipher -addext keyUsage=keyEncipherment
            \(request) -keyout any.key -out any.pem -subj /CN=any
            """
        ) { folder in
            for (name, enforced, fits) in [
                ("sign", true, true), ("any", true, true), ("encipher", true, false), ("encipher", false, true),
            ] {
                let identity = try TLSIdentity(
                    certificatePEM: Self.text("\(folder)/\(name).pem"), keyPEM: Self.text("\(folder)/\(name).key"))
                var rules = PeerVerification(trust: .authorities([identity.leaf]))
                rules.enforcesRSAKeyUsage = enforced
                let pair = try SessionPair(
                    TLSContext(client: TLSClientConfiguration(verification: rules)),
                    TLSContext(server: TLSServerConfiguration(identities: [identity])))
                if fits {
                    try pair.handshake()
                    #expect(pair.client.isPeerTrusted, "\(name)")
                } else {
                    let error = #expect(throws: TLSError.self) { try pair.handshake() }
                    #expect(error?.transportReason.contains("KEY_USAGE_BIT_INCORRECT") == true)
                }
            }
        }
    }

    @Test("a revoked certificate is refused; an authority without a list of its own counts only where it is looked at")
    func revocation() async throws {
        try await inFolder(
            """
            cat > ca.cnf <<'END'
            [ca]
            default_ca = d
            [d]
            database = index.txt
            serial = serial
            crlnumber = crlnumber
            default_md = sha256
            default_crl_days = 30
            default_days = 30
            policy = p
            new_certs_dir = .
            copy_extensions = copy
            [p]
            commonName = supplied
            [req]
            distinguished_name = dn
            [dn]
            END
            : > index.txt; echo 01 > serial; echo 01 > crlnumber
            openssl req -config ca.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca \
              -addext basicConstraints=critical,CA:TRUE
            for name in good bad; do
              openssl req -config ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name -addext subjectAltName=DNS:a.test
              openssl ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in $name.csr -out $name.pem -notext
            done
            openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke bad.pem
            openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem
            """
        ) { folder in
            var rules = PeerVerification(authorities: try TrustPool(pem: Self.text("\(folder)/ca.pem")))
            rules.revocations = try RevocationList.all(pem: Self.text("\(folder)/crl.pem"))
            func connect(_ name: String) throws -> TLSSession {
                let identity = try TLSIdentity(
                    certificatePEM: Self.text("\(folder)/\(name).pem"), keyPEM: Self.text("\(folder)/\(name).key"))
                let pair = try SessionPair(
                    TLSContext(client: TLSClientConfiguration(verification: rules)),
                    TLSContext(server: TLSServerConfiguration(identities: [identity])))
                try pair.handshake()
                return pair.client
            }
            for leafOnly in [true, false] {
                rules.checksOnlyLeafRevocation = leafOnly
                #expect(try connect("good").isPeerTrusted)
                let error = #expect(throws: TLSError.self) { try connect("bad") }
                #expect(
                    error?.transportReason.contains("certificate revoked") == true, "\(error?.transportReason ?? "")")
            }
            #expect(throws: TLSError.self) { try RevocationList.all(pem: Self.text("\(folder)/ca.pem")) }
        }
    }
}
