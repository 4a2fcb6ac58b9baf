import Bytes
import Glibc
import MeshIdentity
import Reactor
import Synchronization
import TLS
import TestSupport
import Testing

@testable import MeshControl
@testable import Telemetry

/// A disk of the test's own, small enough to be filled.
private final class SmallDisk: Sendable {
    let path: String
    private let folder: ScratchFolder
    private var filler: String { path + "/filler" }

    init(kilobytes: Int) throws {
        folder = try ScratchFolder()
        path = folder.path + "/disk"
        try Files.makeDirectories(path)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(kilobytes)k") == 0 else { throw SystemError.last("mount", path) }
    }

    deinit { umount2(path, CInt(MNT_DETACH)) }

    /// Takes all but some of what is left.
    func fill(leaving kilobytes: Int = 0) throws {
        let file = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SystemError.last("open", filler) }
        defer { close(file) }
        let block = [UInt8](repeating: 0, count: 4096)
        var size: off_t = 0
        while write(file, block, block.count) == block.count { size += off_t(block.count) }
        guard errno == ENOSPC else { throw SystemError.last("write", filler) }
        ftruncate(file, max(0, size - off_t(kilobytes * 1024)))
    }

    func free() throws { try Files.remove(filler) }
}

@Suite("The mesh's authority on a disk that is full", .enabled(if: geteuid() == 0, "root: a disk is mounted"))
struct FullDiskTests {
    private let disk: SmallDisk
    private let folder: ScratchFolder
    private let passphrase: MeshPassphrase
    private var directory: String { disk.path + "/mesh" }
    private static let cart = SPIFFEIdentity(trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart")

    init() throws {
        disk = try SmallDisk(kilobytes: 128)
        folder = try ScratchFolder()
        passphrase = MeshPassphrase(path: folder.path + "/passphrase")
        try passphrase.create()
    }

    /// What is there besides what counts.
    private func leftovers() throws -> [String] {
        let names = try Files.list(directory)
        let counts = try Files.list(directory + "/current")
        #expect(counts.allSatisfy { !$0.hasSuffix(".tmp") })
        return names.filter { $0 != "current" }
    }

    @Test(
        "without room for one, none is made, it is said why, and it is made when there is room", arguments: [0, 4, 12])
    func first(kilobytes: Int) throws {
        try disk.fill(leaving: kilobytes)
        let made = try MeshAuthorityGeneration.create(trustDomain: "cluster.local")
        let error = #expect(throws: SystemError.self) { try made.write(to: directory, passphrase) }
        #expect(error?.description.contains("No space left on device") ?? false, "\(error.map { "\($0)" } ?? "")")
        #expect(!MeshAuthorityGeneration.exists(in: directory))
        let left = Files.exists(directory) ? try Files.list(directory) : []
        #expect(left == [])
        try disk.free()
        try made.write(to: directory, passphrase)
        let read = try MeshAuthorityGeneration(reading: directory, passphrase)
        #expect(read.authority.root == made.authority.root)
    }

    @Test("another root without room for it leaves the one that is there, whole; with room it is made")
    func rotation() throws {
        let made = try MeshAuthorityGeneration.create(trustDomain: "cluster.local")
        try made.write(to: directory, passphrase)
        for kilobytes in [0, 4, 8, 16, 20] {
            try disk.fill(leaving: kilobytes)
            let error = #expect(throws: SystemError.self, "with \(kilobytes) KB") {
                try LiveMeshAuthority.rotateRoot(
                    in: directory, trustDomain: "cluster.local", passphrase: passphrase, settling: .seconds(60),
                    overlap: .seconds(60))
            }
            #expect(error?.description.contains("No space left on device") ?? false, "\(error.map { "\($0)" } ?? "")")
            #expect(try leftovers().filter { $0 != "filler" }.count == 1)
            let read = try MeshAuthorityGeneration(reading: directory, passphrase)
            #expect(read.authority.root == made.authority.root && read.rotation == nil)
            try disk.free()
        }
        _ = try LiveMeshAuthority.rotateRoot(
            in: directory, trustDomain: "cluster.local", passphrase: passphrase, settling: .seconds(60),
            overlap: .seconds(60))
        #expect(try MeshAuthorityGeneration(reading: directory, passphrase).authority.roots.count == 2)
        #expect(try leftovers().count == 1)
    }

    @Test("one that runs goes on to sign, says once what is wrong, and does what was due when there is room")
    func running() async throws {
        let group = try EventLoopGroup(count: 1, name: "authority")
        let loop = group.all[0]
        let lines = Lines()
        try MeshAuthorityGeneration.create(trustDomain: "cluster.local").write(to: directory, passphrase)
        let live = try await loop.perform {
            try LiveMeshAuthority(
                .own(directory: directory), trustDomain: "cluster.local", passphrase: passphrase, loop: loop,
                log: lines.log)
        }
        let old = try await loop.perform { live.current.root }
        // The root that comes signs when the disk has long been full, and cannot be written then.
        _ = try LiveMeshAuthority.rotateRoot(
            in: directory, trustDomain: "cluster.local", passphrase: passphrase, settling: .seconds(5), overlap: .zero)
        try disk.fill(leaving: 4)
        try await eventually("it is said", on: loop) { lines.count { $0.contains("could not be moved on") } == 1 }
        #expect(lines.all.contains { $0.contains("No space left on device") })
        let key = try PrivateKey.generate().publicKey
        let issuer = try await loop.perform {
            let leaf = try live.current.certify(key, as: Self.cart, lifetime: 60)
            return leaf.isSigned(by: live.current.issuer.certificate) ? live.current.root : nil
        }
        #expect(issuer == old)
        try disk.free()
        try await eventually("the new root signs", on: loop) {
            try await loop.perform { live.current.root != old && live.current.roots.count == 1 }
        }
        #expect(lines.count { $0.contains("could not be moved on") } == 1)
        let stored = try MeshAuthorityGeneration(reading: directory, passphrase)
        #expect(try await loop.perform { live.current.root == stored.authority.root })
        try await loop.perform { live.close() }
        await group.shutdown()
    }
}

/// What was logged.
private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])

    var log: Log {
        Log(Log.Output { [self] line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } })
    }

    var all: [String] { lines.withLock { $0 } }

    func count(_ fits: (String) -> Bool) -> Int { all.count { fits($0) } }
}
