import TLS
import XDS

// Secrets by name: the bootstrap's own, and those of files and control planes. A change of one makes the contexts anew that are made of it;
// listeners, clusters and connections stay as they are.
extension ProxyServer {
    func applySecrets(_ update: ResourceUpdate) async throws {
        for resource in update.added + update.updated { try Self.check(secret: resource) }
        let all = resources.all(.secret)
        await onDirectory { $0.secrets.setFixed(all) }
    }

    /// Sees to the contexts of a listener from now on.
    func followSecrets(_ contexts: [LiveTLSContext]) async {
        guard !contexts.isEmpty else { return }
        await onDirectory { [weak self] directory in
            for context in contexts {
                let wasReady = context.isReady
                directory.secrets.follow(context) {
                    if !wasReady { Task { await self?.openWarmListeners() } }
                }
            }
        }
    }

    /// For the admin pages. Sources may use the same names: the newest of them is shown.
    func noteSecrets(_ update: ResourceUpdate) {
        _ = dynamic.change(.secret, update.added + update.updated, removing: [])
        record.note(update)
    }

    func reportSecrets(to report: inout StatReport) async {
        let clusters = clusters
        for (name, counters) in (try? await clusters.loop.perform { clusters.secrets.fileCounters }) ?? [] {
            counters.report(.secret(name), to: &report)
        }
    }

    /// What a secret would be refused for by itself.
    static func check(secret resource: Resource) throws(ConfigError) {
        let node = try resource.node()
        _ = node.string("name")
        let ingredients = TLSIngredients { _ in nil }
        switch node.choice("type") {
        case "tls_certificate":
            if let certificate = node.message("tls_certificate") { _ = try TLSIdentity.read(certificate, ingredients) }
        case "validation_context":
            if let validation = node.message("validation_context") {
                _ = try PeerVerification.read(validation, ingredients)
                _ = validation.bool("suppress_client_ca_list")
            }
        case "session_ticket_keys":
            if let keys = node.message("session_ticket_keys") {
                _ = try keys.messages("keys") { (key) throws(ConfigError) in try ingredients.data(key) }
            }
        case "generic_secret":
            if let generic = node.message("generic_secret") {
                if let data = generic.message("secret") { _ = try ingredients.data(data) }
                generic.ignore("secrets")
            }
        case nil: throw node.error("holds nothing")
        case let other?: throw node.unsupported(other)
        }
        try node.finish()
    }
}
