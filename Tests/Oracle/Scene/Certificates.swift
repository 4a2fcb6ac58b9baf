import Glibc
import Reactor

/// Keys and certificates for scenes with TLS, made once a process by openssl: `ca.pem`, `server.pem` (a.test, *.b.test),
/// `other.pem` (other.test), `client.pem` (spiffe://test/client), `stranger.pem` (its own issuer), each with its `.key`.
enum Certificates {
    private static let made = Task<String, any Error> {
        let folder = "\(temporaryFolder)/weft-oracle-certs-\(getpid())"
        try Files.makeDirectories(folder)
        atexit { try? Files.removeTree("\(temporaryFolder)/weft-oracle-certs-\(getpid())") }
        let script = """
            set -e; cd \(folder)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
                -days 3650 -subj /CN=oracle-ca
            leaf() {
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "/CN=$1/O=Weft"
                printf 'subjectAltName=%s\\n' "$2" > $1.ext
                openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile $1.ext -out $1.pem
            }
            leaf server DNS:a.test,DNS:*.b.test,DNS:localhost
            leaf other DNS:other.test
            leaf client URI:spiffe://test/client,DNS:client.test
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout stranger.key -out stranger.pem \
                -days 3650 -subj /CN=stranger
            """
        let group = try EventLoopGroup(count: 1, name: "openssl")
        let output = try await ChildProcess.run(.init(["sh", "-c", script]), on: group.all[0], timeout: .seconds(60))
        await group.shutdown()
        guard output.status.isSuccess else { throw RowError("openssl: \(output.errorText)") }
        return folder
    }

    /// The folder with all of them.
    static func folder(on loop: EventLoop) async throws -> String { try await made.value }
}
