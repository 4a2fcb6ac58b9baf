import ArgumentParser
import ClusterClient
import Glibc
import JSON
import Reactor
import YAML

/// How a command finds the API server, in kubectl's order, with clusters of `weft up` between the variable and the file.
struct APIAccess: ParsableArguments {
    @Option(help: "How to reach the API server. Default: $KUBECONFIG, the cluster in --dir, ~/.kube/config.")
    var kubeconfig: String?

    @Option(help: "Which context of the kubeconfig.")
    var context: String?

    @OptionGroup var folder: ClusterFolder

    /// The cluster of `weft up` that is meant; nil when it is another's. A kubeconfig that lies in the folder of one says which.
    func record() throws -> ClusterRecord? {
        guard folder.path == ClusterFolder.standard, let chosen = chosenFile() else {
            return try ClusterRecord.load(folder.absolute)
        }
        let own = try? ClusterRecord.load(chosen.split(separator: "/").dropLast().map { "/" + $0 }.joined())
        let standard = try? ClusterRecord.load(folder.absolute)
        return [own, standard].compactMap { $0 }.first { $0.kubeconfig == chosen }
    }

    func load() throws -> KubeConfig {
        let path = try path()
        do {
            let document = try YAML.parse(Files.readText(path, limit: 1 << 20))
            let directory = path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
            return try KubeConfig(document: document, context: context, directory: directory)
        } catch {
            throw Refusal("\(path): \(error)", hint: "another kubeconfig is chosen by --kubeconfig")
        }
    }

    /// The file that somebody names.
    private func chosenFile() -> String? {
        if let kubeconfig { return absolute(kubeconfig) }
        guard let text = getenv("KUBECONFIG").map({ String(cString: $0) }), !text.isEmpty else { return nil }
        // Several files would have to be merged; the first one that is there is right nearly always.
        let files = text.split(separator: ":").map { absolute(String($0)) }
        return files.first(where: Files.exists) ?? files.first
    }

    private func path() throws -> String {
        if let file = chosenFile() { return file }
        if let record = try record(), Files.exists(record.kubeconfig) { return record.kubeconfig }
        let home = getenv("HOME").map { String(cString: $0) } ?? "/root"
        let path = "\(home)/.kube/config"
        guard Files.exists(path) else {
            throw Refusal("no kubeconfig is found", hint: "say --kubeconfig FILE, or set KUBECONFIG")
        }
        return path
    }

    private func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : currentDirectory() + "/" + path }
}
