import APIServer
import ArgumentParser
import ClusterAPI
import MeshControl

/// Begins the way to a new root of the mesh's authority.
struct RotateMeshRoot: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-mesh-root",
        abstract: "Replace the root of the mesh's authority: both are trusted for a while, then the old one is not.",
        discussion: """
            A control plane that runs takes it up at once. First the new root is trusted beside the old one, so that all
            nodes hear of it; then it signs; in the end the old one is trusted no longer. An authority of one's own
            (--mesh-ca-dir) is rotated by replacing its files.
            """)

    @Option(help: "The control plane's data directory.")
    var dataDir = ControlSettings().dataDirectory

    @Option(help: "DNS domain of the cluster, which is the mesh's trust domain.")
    var clusterDomain = ControlSettings().clusterDomain

    @Option(help: "File with the passphrase of the keys. Default: pki/mesh-ca.passphrase in the data directory.")
    var meshCaPassphraseFile: String?

    @Option(help: "How long the new root is only trusted before it signs.")
    var settle = "15m"

    @Option(help: "How long the old root is trusted after that: no less than certificates live.")
    var overlap = "48h"

    @Flag(help: "For a root whose key is no longer a secret: the new one signs, and the old one ends, at once.")
    var now = false

    func run() throws {
        var settings = ControlSettings()
        settings.dataDirectory = dataDir
        settings.meshPassphraseFile = meshCaPassphraseFile
        func duration(_ name: String, _ text: String) throws -> Duration {
            guard let duration = Duration(goText: text), duration >= .zero else {
                throw ConfigurationError("--\(name): expected a duration such as 15m or 48h, found \"\(text)\"")
            }
            return duration
        }
        print(
            try LiveMeshAuthority.rotateRoot(
                in: settings.meshDirectory, trustDomain: clusterDomain, passphrase: settings.meshPassphrase,
                settling: now ? .zero : duration("settle", settle), overlap: now ? .zero : duration("overlap", overlap))
        )
    }
}
