import Bytes
import Glibc
import JSON
import Reactor
import TLS

/// The authority that a cluster makes for itself, as it lies in its folder: a root, an issuing certificate below it, and what is under
/// way from one root to the next. Changes are new folders; a link that is replaced whole says which one counts, so that a crash at
/// any moment leaves either the old or the new.
struct MeshAuthorityGeneration {
    var authority: MeshAuthority
    var rootKey: PrivateKey
    var rotation: Rotation?

    /// A root that comes or goes.
    enum Rotation {
        /// Trusted already; signs from that time on. The overlap is for the old one then, seconds.
        case coming(root: CertificateAuthority, at: Timestamp, overlap: Int64)
        /// Trusted until that time, and signs nothing new.
        case going(root: Certificate, at: Timestamp)
    }

    static let current = "current"
    private static let rootKeyFile = "root-key.pem"
    private static let nextCertificate = "next-root-cert.pem"
    private static let nextKey = "next-root-key.pem"
    private static let rotationFile = "rotation.json"
    static let rootLifetime: Int64 = 10 * CertificateTemplate.year
    static let issuerLifetime: Int64 = CertificateTemplate.year
    /// The issuing certificate is made anew when this much of it is left, seconds.
    static let issuerRenewal: Int64 = issuerLifetime / 3

    static func create(trustDomain: String, now: Timestamp = .now()) throws -> MeshAuthorityGeneration {
        let root = try makeRoot(trustDomain, now)
        return MeshAuthorityGeneration(
            authority: try issuing(below: root, others: [], trustDomain, now), rootKey: root.key, rotation: nil)
    }

    static func makeRoot(_ trustDomain: String, _ now: Timestamp) throws(TLSError) -> CertificateAuthority {
        // Several roots of one name would make a chain ambiguous for people.
        let mark = Hex.encode(SecureRandom.bytes(4))
        return try CertificateAuthority.create(
            commonName: "weft mesh root \(mark)", organizations: [trustDomain], lifetime: rootLifetime, now: now)
    }

    private static func issuing(
        below root: CertificateAuthority, others: [Certificate], _ trustDomain: String, _ now: Timestamp
    ) throws -> MeshAuthority {
        let issuer = try root.issueAuthority(
            commonName: "weft mesh issuer", organizations: [trustDomain], lifetime: issuerLifetime, now: now)
        return try MeshAuthority(
            certificate: issuer.certificate, key: issuer.key, chain: [], roots: [root.certificate] + others, now: now)
    }

    // MARK: What is due

    /// When something is due next; nil: nothing within sight.
    var due: Timestamp {
        let renewal = Timestamp(seconds: authority.issuer.certificate.notAfter.seconds - Self.issuerRenewal)
        switch rotation {
        case nil: return renewal
        case .coming(_, let at, _), .going(_, let at): return min(at, renewal)
        }
    }

    /// The state that follows when something is due; nil where nothing is.
    func next(_ trustDomain: String, now: Timestamp) throws -> MeshAuthorityGeneration? {
        switch rotation {
        case .coming(let root, let at, let overlap) where at <= now:
            let old = authority.root
            let retirement = Timestamp(seconds: now.seconds + overlap)
            let keepsOld = overlap > 0
            return MeshAuthorityGeneration(
                authority: try Self.issuing(below: root, others: keepsOld ? [old] : [], trustDomain, now),
                rootKey: root.key, rotation: keepsOld ? .going(root: old, at: retirement) : nil)
        case .going(let root, let at) where at <= now:
            var next = self
            next.rotation = nil
            next.authority = try MeshAuthority(
                certificate: authority.issuer.certificate, key: authority.issuer.key,
                chain: authority.issuer.intermediates, roots: authority.roots.filter { $0 != root }, now: nil)
            return next
        default: break
        }
        guard authority.issuer.certificate.notAfter.seconds - Self.issuerRenewal <= now.seconds else { return nil }
        var next = self
        next.authority = try Self.issuing(
            below: CertificateAuthority(certificate: authority.root, key: rootKey),
            others: Array(authority.roots.dropFirst()), trustDomain, now)
        return next
    }

    /// A new root, trusted from now on.
    ///
    /// - Parameters:
    ///   - settling: Seconds until it signs: time for all nodes to hear of it.
    ///   - overlap: Seconds for which the old one is trusted after that; 0 ends it at once, with all that it signed.
    func rotating(
        _ trustDomain: String, settling: Int64, overlap: Int64, now: Timestamp = .now()
    ) throws -> MeshAuthorityGeneration {
        if case .coming(let root, let at, _) = rotation {
            throw MeshAuthority.Invalid(
                "a rotation is under way: \"\(root.certificate.subject)\" signs from \(at.rfc3339) on")
        }
        let root = try Self.makeRoot(trustDomain, now)
        var next = self
        // An old one that is still trusted stays until the new one signs; what it signed is out of date by then, or soon.
        next.authority = try MeshAuthority(
            certificate: authority.issuer.certificate, key: authority.issuer.key, chain: authority.issuer.intermediates,
            roots: authority.roots + [root.certificate], now: now)
        next.rotation = .coming(root: root, at: Timestamp(seconds: now.seconds + settling), overlap: overlap)
        return next
    }

    // MARK: On disk

    static func exists(in directory: String) -> Bool { Files.exists("\(directory)/\(current)") }

    init(authority: MeshAuthority, rootKey: PrivateKey, rotation: Rotation?) {
        (self.authority, self.rootKey, self.rotation) = (authority, rootKey, rotation)
    }

    /// A clock that is wrong must not keep a control plane from starting: whether it may sign is asked when it shall.
    init(reading directory: String, _ passphrase: MeshPassphrase) throws {
        let files = MeshAuthorityFiles(folder: "\(directory)/\(Self.current)", passphrase: passphrase)
        authority = try files.read(now: nil)
        rootKey = try files.key(Self.rootKeyFile)
        guard Files.exists(files.path(Self.rotationFile)) else {
            rotation = nil
            return
        }
        let json = try JSONValue.parse(try Files.read(files.path(Self.rotationFile), limit: 1 << 16))
        guard let at = json["at"]?.string.flatMap({ Timestamp(rfc3339: $0) }) else {
            throw MeshAuthority.Invalid("\(files.path(Self.rotationFile)): \"at\" is no time")
        }
        if let overlap = json["overlapSeconds"]?.int {
            rotation = .coming(
                root: try CertificateAuthority(
                    certificate: try Certificate(pem: try Files.readText(files.path(Self.nextCertificate))),
                    key: try files.key(Self.nextKey)), at: at, overlap: overlap)
        } else if let fingerprint = json["going"]?.string,
            let root = authority.roots.first(where: { $0.fingerprintText == fingerprint })
        {
            rotation = .going(root: root, at: at)
        } else {
            rotation = nil
        }
    }

    /// Makes it the one that counts; what was before is removed. Where that fails, for want of space for instance, what was before
    /// counts, and nothing of this is left.
    func write(to directory: String, _ passphrase: MeshPassphrase) throws {
        try Files.makeDirectories(directory, mode: 0o700)
        let name = Hex.encode(SecureRandom.bytes(8))
        let link = "\(directory)/\(Self.current)"
        let fresh = "\(link).\(name)"
        do {
            try write(MeshAuthorityFiles(folder: "\(directory)/\(name)", passphrase: passphrase))
            guard symlink(name, fresh) == 0 else { throw SystemError.last("symlink", fresh) }
            guard rename(fresh, link) == 0 else { throw SystemError.last("rename", link) }
        } catch {
            unlink(fresh)
            try? Files.removeTree("\(directory)/\(name)")
            throw error
        }
        for other in try Files.list(directory) where other != name && other != Self.current {
            try Files.removeTree("\(directory)/\(other)")
        }
    }

    private func write(_ files: MeshAuthorityFiles) throws {
        try Files.makeDirectories(files.folder, mode: 0o700)
        try files.write(authority)
        try files.write(Self.rootKeyFile, rootKey)
        switch rotation {
        case nil: break
        case .coming(let root, let at, let overlap):
            try files.write(Self.nextKey, root.key)
            try Files.writeAtomically(files.path(Self.nextCertificate), root.certificate.pem, sync: true)
            let json: JSONValue = ["at": .string(at.rfc3339), "overlapSeconds": .int(overlap)]
            try Files.writeAtomically(files.path(Self.rotationFile), json.encodedString(), sync: true)
        case .going(let root, let at):
            let json: JSONValue = ["at": .string(at.rfc3339), "going": .string(root.fingerprintText)]
            try Files.writeAtomically(files.path(Self.rotationFile), json.encodedString(), sync: true)
        }
    }
}
