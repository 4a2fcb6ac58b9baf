import Reactor
import TLS
import XDS

/// The TLS contexts that are made of secrets and files: makes each again when something that it is made of changes. On the
/// directory's loop.
final class SecretDirectory {
    private final class Follower {
        weak let context: LiveTLSContext?
        var needs: TLSNeeds
        var waiting: [() -> Void] = []
        var timer = TimerHandle.none

        init(_ context: LiveTLSContext) {
            self.context = context
            needs = context.needs
        }
    }

    /// A context without a secret is ready, and refuses every connection, after this (`initial_fetch_timeout`).
    static let fetchTimeout = Duration.seconds(15)
    /// Files that belong together move one after another.
    static let settlingTime = Duration.milliseconds(20)

    private let loop: EventLoop
    private let problems: ConfigProblems
    /// Told of the secrets that files brought.
    var came: (ResourceUpdate) -> Void = { _ in }
    /// The control plane that secrets of a source come by.
    var session: (ConfigSource.Origin) -> DiscoverySession? = { _ in nil }
    /// What control planes were asked for.
    private var discovered: Set<SecretReference> = []
    private var fixed: [String: Resource] = [:]
    private var files: [ConfigFile: SecretFile] = [:]
    private var watches: [String: DirectoryWatch] = [:]
    private var followers: [ObjectIdentifier: Follower] = [:]
    private var moved: Set<String> = []
    private var settling = TimerHandle.none
    /// Contexts that took another's place.
    private(set) var updates: UInt64 = 0

    init(_ loop: EventLoop, _ problems: ConfigProblems) {
        self.loop = loop
        self.problems = problems
    }

    /// Sees to a context from now on, for as long as somebody holds it; `ready` is called once it can be used, or need not be
    /// waited for any more: perhaps now.
    func follow(_ context: LiveTLSContext, ready: @escaping () -> Void) {
        sweep()
        guard context.recipe != nil else { return ready() }
        let follower: Follower
        if let known = followers[ObjectIdentifier(context)] {
            follower = known
        } else {
            follower = Follower(context)
            followers[ObjectIdentifier(context)] = follower
            // What changed between its making and our watching is found here.
            watch(follower.needs.directories)
            let isStale = follower.needs.files.contains { FileStamp($0.key) != $0.value }
            if !follower.needs.missing.isEmpty || isStale { make(follower) }
        }
        if context.isReady { return ready() }
        follower.waiting.append(ready)
        // What control planes do not say in time, they are the ones to tell.
        let isUnasked = follower.needs.missing.contains {
            $0.file != nil || $0.source.flatMap { session($0.origin) } == nil
        }
        if isUnasked, follower.timer == .none {
            follower.timer = loop.schedule(after: Self.fetchTimeout) { [weak self, weak follower] in
                guard let self, let follower, let context = follower.context else { return }
                let names = follower.needs.missing.map(\.name).sorted().joined(separator: ", ")
                ProxyLog.warning(.config, "secrets have not come in time: \(names)")
                context.giveUpWaiting()
                tellReady(follower)
            }
        }
    }

    /// The bootstrap's own secrets.
    func setFixed(_ secrets: [Resource]) {
        let before = fixed
        fixed = Dictionary(secrets.map { ($0.name, $0) }) { first, _ in first }
        let changed = fixed.filter { before[$0.key]?.bytes != $0.value.bytes }
        remake { needs in changed.keys.contains { needs.secrets.contains(SecretReference(source: nil, name: $0)) } }
    }

    func close() {
        loop.cancel(settling)
        for follower in followers.values { loop.cancel(follower.timer) }
        for file in files.values { file.close() }
        for watch in watches.values { watch.close() }
        (followers, files, watches) = ([:], [:], [:])
    }

    // MARK: Making

    private func make(_ follower: Follower) {
        guard let context = follower.context, let recipe = context.recipe else { return }
        let ingredients = TLSIngredients { [unowned self] in find($0) }
        do {
            let made = try recipe.context(ingredients)
            follower.needs = ingredients.needs
            if let made {
                context.become(made)
                updates += 1
                tellReady(follower)
            }
        } catch {
            // What it was made of, and what it is to be made of: either may set it right.
            let needs = ingredients.needs
            follower.needs.secrets.formUnion(needs.secrets)
            follower.needs.directories.formUnion(needs.directories)
            follower.needs.files.merge(needs.files) { $1 }
            problems.report("\(error)")
        }
        watch(follower.needs.directories)
    }

    private func tellReady(_ follower: Follower) {
        loop.cancel(follower.timer)
        let waiting = follower.waiting
        follower.waiting = []
        for ready in waiting { ready() }
    }

    private func remake(_ isConcerned: (TLSNeeds) -> Bool) {
        sweep()
        for follower in followers.values where isConcerned(follower.needs) { make(follower) }
    }

    // MARK: Secrets

    private func find(_ reference: SecretReference) -> Resource? {
        guard let config = reference.source else { return fixed[reference.name] }
        guard let source = reference.file else {
            guard let session = session(config.origin) else {
                problems.report("secret \(reference.name): the bootstrap has no ads_config to ask for it")
                return nil
            }
            if discovered.insert(reference).inserted {
                session.subscribeToSecret(reference.name, fetchTime: config.fetchTime)
            }
            return session.client.held[.secret, reference.name]
        }
        if let file = files[source] { return file[reference.name] }
        let file = SecretFile(source, on: loop, problems) { [unowned self] update in
            came(update)
            remake(update, .file(source))
        }
        files[source] = file
        // Who asks is not among those who are told, as it does not need it yet.
        file.read()
        return file[reference.name]
    }

    private func remake(_ update: ResourceUpdate, _ origin: ConfigSource.Origin) {
        let names = Set((update.added + update.updated).map(\.name))
        remake { $0.secrets.contains { $0.source?.origin == origin && names.contains($0.name) } }
    }

    /// What a control plane says is wrong when one of them cannot be used by itself.
    func check(_ update: ResourceUpdate) -> [ResourceRefusal] {
        (update.added + update.updated).compactMap { resource in
            do throws(ConfigError) {
                try ProxyServer.check(secret: resource)
                return nil
            } catch { return ResourceRefusal(resource.name, error.description) }
        }
    }

    /// A control plane has said something, which its session holds by now.
    func discovered(_ update: ResourceUpdate, _ origin: ConfigSource.Origin) {
        came(update)
        remake(update, origin)
    }

    /// Nothing is to be had under these names, for now: contexts that wait for them refuse connections.
    func giveUp(_ names: [String], _ origin: ConfigSource.Origin) {
        for follower in followers.values {
            let isConcerned = follower.needs.missing.contains { $0.source?.origin == origin && names.contains($0.name) }
            guard isConcerned, let context = follower.context, !context.isReady else { continue }
            context.giveUpWaiting()
            tellReady(follower)
        }
    }

    /// What is counted of each secret that a file has.
    var fileCounters: [(name: String, counters: SubscriptionCounters)] {
        let wanted = followers.values.reduce(into: Set<SecretReference>()) { $0.formUnion($1.needs.secrets) }
        return wanted.compactMap { reference in
            reference.file.flatMap { files[$0] }.map { (reference.name, $0.counters) }
        }
    }

    // MARK: Files

    private func watch(_ directories: Set<String>) {
        for directory in directories where watches[directory] == nil {
            do {
                watches[directory] = try DirectoryWatch(directory, on: loop) { [unowned self] _ in
                    moved.insert(directory)
                    loop.cancel(settling)
                    settling = loop.schedule(after: Self.settlingTime) { [weak self] in self?.settle() }
                }
            } catch { problems.report("\(directory): \(error)") }
        }
    }

    private func settle() {
        let directories = moved
        moved = []
        remake { needs in
            !needs.directories.isDisjoint(with: directories)
                && needs.files.contains { FileStamp($0.key) != $0.value }
        }
    }

    /// Forgets contexts that nobody holds any more, and the places that only they named.
    private func sweep() {
        let count = followers.count
        followers = followers.filter { entry in
            if entry.value.context == nil { loop.cancel(entry.value.timer) }
            return entry.value.context != nil
        }
        guard followers.count != count else { return }
        let directories = followers.values.reduce(into: Set<String>()) { $0.formUnion($1.needs.directories) }
        for (directory, watch) in watches where !directories.contains(directory) {
            watch.close()
            watches[directory] = nil
        }
        let wanted = followers.values.reduce(into: Set<SecretReference>()) { $0.formUnion($1.needs.secrets) }
        let sources = Set(wanted.compactMap(\.file))
        for (source, file) in files where !sources.contains(source) {
            file.close()
            files[source] = nil
        }
        for reference in discovered.subtracting(wanted) {
            discovered.remove(reference)
            if let source = reference.source { session(source.origin)?.unsubscribe(.secret, reference.name) }
        }
    }
}

extension SecretReference {
    /// The file that it comes from; nil for the others.
    fileprivate var file: ConfigFile? { if case .file(let file)? = source?.origin { file } else { nil } }
}
