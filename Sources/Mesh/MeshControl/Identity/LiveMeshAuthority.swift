import Bytes
public import Reactor
import TLS
public import Telemetry

/// The authority as it is now: read from its folder, read again when that changes, and moved on when something of it is due. Belongs
/// to one loop.
public final class LiveMeshAuthority: @unchecked Sendable {
    // Proof for `@unchecked`: touched on `loop` only.

    /// Where it lies.
    public enum Place: Hashable, Sendable {
        /// The cluster's own, made at the first start.
        case own(directory: String)
        /// A person's, in a folder with Istio's files; only read.
        case brought(folder: String)
    }

    /// An issuing certificate of a person's with less left than this is complained of, seconds.
    private static let warning: Int64 = 30 * 86400
    /// How often what is due is looked for, at least: clocks are set, machines sleep.
    private static let glance: Duration = .seconds(60)
    /// After something that was due failed: a disk that is full, for instance.
    private static let pause: Duration = .seconds(2)

    public let trustDomain: String
    public private(set) var current: MeshAuthority
    private let place: Place
    private let passphrase: MeshPassphrase
    private let loop: EventLoop
    private let log: Log
    private var generation: MeshAuthorityGeneration?
    private var watch: DirectoryWatch?
    private var timer: TimerHandle?
    private var reloading: TimerHandle?
    private var complaint = ""
    private var handlers: [(MeshAuthority) -> Void] = []

    /// On the loop. Makes the cluster's own where there is none.
    ///
    /// - Throws: `MeshAuthority.Invalid` for what cannot be used, with the file.
    public init(_ place: Place, trustDomain: String, passphrase: MeshPassphrase, loop: EventLoop, log: Log) throws {
        (self.place, self.trustDomain, self.passphrase) = (place, trustDomain, passphrase)
        (self.loop, self.log) = (loop, log)
        switch place {
        case .own(let directory):
            if !MeshAuthorityGeneration.exists(in: directory) {
                try passphrase.create()
                try MeshAuthorityGeneration.create(trustDomain: trustDomain).write(to: directory, passphrase)
            }
            let generation = try MeshAuthorityGeneration(reading: directory, passphrase)
            self.generation = generation
            current = generation.authority
            watch = try DirectoryWatch(directory, on: loop) { [weak self] name in
                if name == MeshAuthorityGeneration.current { self?.reload() }
            }
        case .brought(let folder):
            current = try MeshAuthorityFiles(folder: folder, passphrase: passphrase).read()
            watch = try DirectoryWatch(folder, on: loop) { [weak self] _ in self?.reloadSoon() }
        }
        log.info(
            "mesh authority",
            [
                "issuer": "\(current.issuer.certificate.subject)", "until": current.issuer.certificate.notAfter.rfc3339,
                "roots": current.roots.map { "\($0.subject)" }.joined(separator: "; "),
            ])
        proceed()
    }

    /// Calls `handler` now and on each change, on the loop.
    public func onChange(_ handler: @escaping (MeshAuthority) -> Void) {
        handlers.append(handler)
        handler(current)
    }

    func close() {
        watch?.close()
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    // MARK: Change

    /// Several files change one after the other; half of them would not fit together.
    private func reloadSoon() {
        if let reloading { loop.cancel(reloading) }
        reloading = loop.schedule(after: .milliseconds(200)) { [weak self] in
            self?.reloading = nil
            self?.reload()
        }
    }

    /// What cannot be used leaves everything as it was.
    private func reload() {
        do {
            switch place {
            case .own(let directory):
                let generation = try MeshAuthorityGeneration(reading: directory, passphrase)
                self.generation = generation
                take(generation.authority)
            case .brought(let folder): take(try MeshAuthorityFiles(folder: folder, passphrase: passphrase).read())
            }
            complaint = ""
            proceed()
        } catch { complain("the mesh's authority stays as it is: what is new cannot be used", "\(error)") }
    }

    /// Once, until something else is wrong.
    private func complain(_ message: String, _ error: String) {
        guard complaint != error else { return }
        complaint = error
        log.error(message, ["error": error])
    }

    /// Does what is due, and comes back when something is next.
    private func proceed() {
        if let timer { loop.cancel(timer) }
        let now = Timestamp.now()
        var soonest: Duration = .milliseconds(100)
        if case .own(let directory) = place, let generation {
            do {
                if let next = try generation.next(trustDomain, now: now) {
                    // Its own watch reads it again, which changes nothing.
                    try next.write(to: directory, passphrase)
                    self.generation = next
                    take(next.authority)
                }
                if !complaint.isEmpty { log.info("the mesh's authority is written again") }
                complaint = ""
            } catch {
                soonest = Self.pause
                complain(
                    "the mesh's authority could not be moved on, and stays as it is; it is tried again", "\(error)")
            }
        } else if current.issuer.certificate.notAfter.seconds - now.seconds < Self.warning {
            complain(
                "the mesh's issuing certificate ends soon; replace the files that were brought",
                "\(current.issuer.certificate.subject) ends at \(current.issuer.certificate.notAfter.rfc3339)")
        }
        let due = (generation?.due.seconds ?? .max) - Timestamp.now().seconds
        let delay = max(soonest, min(Self.glance, .seconds(min(due, 3600))))
        timer = loop.schedule(after: delay) { [weak self] in
            guard let self else { return }
            // Files that are written in place are not told of.
            if case .brought = place { reload() } else { proceed() }
        }
    }

    private func take(_ new: MeshAuthority) {
        let isSame = new.roots == current.roots && new.issuer.certificate == current.issuer.certificate
        guard !isSame else { return }
        current = new
        log.info(
            "mesh authority changed",
            [
                "issuer": "\(new.issuer.certificate.subject)", "until": new.issuer.certificate.notAfter.rfc3339,
                "roots": new.roots.map { "\($0.subject)" }.joined(separator: "; "),
            ])
        for handler in handlers { handler(new) }
    }

    /// Begins the way to a new root of the cluster's own authority, for a control plane that runs or will.
    ///
    /// - Returns: What is to happen, for people.
    public static func rotateRoot(
        in directory: String, trustDomain: String, passphrase: MeshPassphrase, settling: Duration, overlap: Duration
    ) throws -> String {
        guard MeshAuthorityGeneration.exists(in: directory) else {
            throw MeshAuthority.Invalid("\(directory) holds no authority of the cluster's own")
        }
        let next = try MeshAuthorityGeneration(reading: directory, passphrase).rotating(
            trustDomain, settling: settling.components.seconds, overlap: overlap.components.seconds)
        try next.write(to: directory, passphrase)
        guard case .coming(let root, let at, let overlap) = next.rotation else { return "" }
        let end = Timestamp(seconds: at.seconds + overlap)
        return """
            \(root.certificate.subject) is trusted now and signs from \(at.rfc3339) on;
            \(next.authority.root.subject) is trusted until \(end.rfc3339)
            """
    }
}
