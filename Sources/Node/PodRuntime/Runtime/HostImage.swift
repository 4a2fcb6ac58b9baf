import Glibc
import Reactor

/// The image `weft.local/host`: this machine's own root file system, read-only for containers.
///
/// Each container sees it through an overlay whose upper layer is a small tmpfs. Mount points that the host does not have are made
/// there, never on the host. Nothing that is mounted on the host below `/` is seen.
enum HostImage {
    static let name = "weft.local/host"
    /// Bytes for mount points in the upper layer; the root is read-only for the container itself.
    static let layerSize: UInt64 = 4 << 20
    /// Where Weft's own programs are in the image, wherever they are on the host.
    static let programs = "/opt/weft/bin"
    static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:\(programs)"

    /// The folder that this program was started from.
    static let programsOnHost: String? = {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        let path = String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) }
    }()

    /// Whether a reference means this image, with any tag.
    static func matches(_ reference: String) -> Bool {
        guard reference.hasPrefix(name) else { return false }
        let rest = reference.dropFirst(name.count)
        return rest.isEmpty || rest.hasPrefix(":") && !rest.dropFirst().isEmpty
    }

    /// Mounts a root for the bundle; blocking.
    static func mountRoot(bundle: String) throws {
        let layer = bundle + "/layer"
        try Directory.make(layer, mode: 0o700)
        try MountPoint.tmpfs(at: layer, size: layerSize, mode: "0700")
        try Directory.make(layer + "/upper")
        try Directory.make(layer + "/work")
        let root = rootPath(bundle: bundle)
        try Directory.make(root)
        try MountPoint.overlay(at: root, lower: "/", upper: layer + "/upper", work: layer + "/work")
    }

    static func rootPath(bundle: String) -> String { bundle + "/rootfs" }

    static func unmountRoot(bundle: String) {
        MountPoint.remove(rootPath(bundle: bundle))
        MountPoint.remove(bundle + "/layer")
    }

    /// The primary group of a user, by the image's /etc/passwd; 0 when it has no entry.
    static func primaryGroup(of uid: UInt32) -> UInt32 {
        guard let bytes = try? Files.read("/etc/passwd", limit: 1 << 20) else { return 0 }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 3, UInt32(fields[2]) == uid { return UInt32(fields[3]) ?? 0 }
        }
        return 0
    }
}

/// What this node can say about an image reference.
enum ImageVerdict: Equatable {
    case present
    /// The waiting reason and why.
    case absent(reason: String, message: String)

    init(_ container: ContainerSpec) {
        let image = container.image
        if HostImage.matches(image) {
            self = .present
        } else if !Self.isReference(image) {
            self = .absent(
                reason: "InvalidImageName",
                message:
                    "Failed to apply default image tag \"\(image)\": couldn't parse image name: invalid reference format"
            )
        } else if container.imagePullPolicy == "Never" {
            self = .absent(
                reason: "ErrImageNeverPull",
                message: "Container image \"\(image)\" is not present with pull policy of Never")
        } else {
            self = .absent(
                reason: "ErrImagePull",
                message: "image \"\(image)\" is not on this node, and this node does not pull from registries yet; "
                    + "the image \(HostImage.name) is the node's own file system")
        }
    }

    /// The characters of an image reference; not the whole grammar.
    private static func isReference(_ text: String) -> Bool {
        guard let first = text.utf8.first, !text.isEmpty, text.utf8.count <= 512 else { return false }
        let isAlphanumeric = { (b: UInt8) in
            (0x30...0x39).contains(b) || (0x41...0x5A).contains(b) || (0x61...0x7A).contains(b)
        }
        let name = text.prefix { $0 != "@" }
        let hasUpperCaseName =
            name.prefix { $0 != ":" }.split(separator: "/").last.map { $0.contains(where: \.isUppercase) } ?? true
        return isAlphanumeric(first) && !hasUpperCaseName
            && text.utf8.allSatisfy { isAlphanumeric($0) || "._-/:@+".utf8.contains($0) }
    }
}
