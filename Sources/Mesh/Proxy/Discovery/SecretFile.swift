import Bytes
import Reactor
import XDS

/// A file of secrets (`sds_config.path_config_source`), for all TLS contexts that ask for some. On the directory's loop.
final class SecretFile {
    private let file: ConfigFile
    private var watch: DirectoryWatch?
    private var resources = ResourceSet()
    private(set) var counters = SubscriptionCounters()
    private let problems: ConfigProblems
    private let changed: (ResourceUpdate) -> Void

    /// - Parameter changed: called with what is new, also within this call.
    init(
        _ file: ConfigFile, on loop: EventLoop, _ problems: ConfigProblems,
        _ changed: @escaping (ResourceUpdate) -> Void
    ) {
        self.file = file
        self.problems = problems
        self.changed = changed
        do {
            watch = try DirectoryWatch(file.directory, on: loop) { [unowned self] name in
                if file.isMeant(name) { read() }
            }
        } catch { problems.report("\(file.path): \(error)") }
    }

    func close() { watch?.close() }

    subscript(name: String) -> Resource? { resources[.secret, name] }

    /// What cannot be read leaves what was before.
    func read() {
        counters.attempts += 1
        let response: ResourceResponse
        do {
            let text = ConfigText(name: file.path, text: try Files.readText(file.path))
            response = try ResourceResponse(.secret, file: text)
        } catch {
            counters.failures += 1
            return problems.report("\(error)")
        }
        for refusal in response.rejected { problems.report("\(refusal)") }
        if response.rejected.isEmpty {
            counters.succeeded(response.version, reloads: true, at: .now())
        } else {
            counters.rejections += 1
        }
        let update = resources.replace(.secret, with: response.resources)
        if !update.isEmpty { changed(update) }
    }
}
