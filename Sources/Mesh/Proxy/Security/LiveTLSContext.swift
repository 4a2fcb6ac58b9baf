import Synchronization
import TLS
import XDS

/// The TLS of a transport socket as it stands: another context takes the place of the present one when a secret or a file that
/// it is made of changes. Connections keep the one that they began with. Any thread.
package final class LiveTLSContext: Sendable {
    private struct State {
        var context: TLSContext?
        var isReady: Bool
    }

    /// How it is made again; nil when it never changes.
    let recipe: TLSRecipe?
    /// What it was made of at first.
    let needs: TLSNeeds
    private let state: Mutex<State>

    private init(_ context: TLSContext?, _ recipe: TLSRecipe?, _ needs: TLSNeeds) {
        self.recipe = recipe
        self.needs = needs
        state = Mutex(State(context: context, isReady: context != nil))
    }

    /// What `recipe` comes to now; `node` is the recipe's own.
    convenience init(
        _ side: TLSRecipe.Side, _ node: ConfigNode, _ context: BuildContext
    ) throws(ConfigError) {
        let secrets = context.staticSecrets
        let ingredients = TLSIngredients { $0.source == nil ? secrets[$0.name] : nil }
        let made = try side.context(node, ingredients)
        let needs = ingredients.needs
        self.init(made, needs.isFixed ? nil : TLSRecipe(side: side, excerpt: node.excerpt), needs)
    }

    /// nil while a secret is missing.
    var context: TLSContext? { state.withLock { $0.context } }

    /// Those who use it need not wait for its secrets any more: they have come, or have not come in time.
    var isReady: Bool { state.withLock { $0.isReady } }

    func become(_ context: TLSContext) { state.withLock { $0 = State(context: context, isReady: true) } }

    func giveUpWaiting() { state.withLock { $0.isReady = true } }

    func session(serverName: String? = nil, checkedName: String? = nil) throws(TLSError) -> TLSSession {
        guard let context else { throw TLSError(.configuration, "a secret of the TLS context has not come") }
        return try TLSSession(context, serverName: serverName, checkedName: checkedName)
    }
}

/// How a TLS context is made from what a transport socket says and from what that names.
struct TLSRecipe: Sendable {
    enum Side: Sendable {
        case downstream
        /// What ALPN offers where the configuration says nothing.
        case upstream(protocols: [String])

        /// nil when a secret is missing.
        func context(_ node: ConfigNode, _ ingredients: TLSIngredients) throws(ConfigError) -> TLSContext? {
            switch self {
            case .downstream:
                let configuration = try DownstreamSecurity.configuration(node, ingredients)
                return try Self.made(node, ingredients) { () throws(TLSError) in
                    try TLSContext(server: configuration)
                }
            case .upstream(let protocols):
                let configuration = try UpstreamSecurity.configuration(node, ingredients, protocols: protocols)
                return try Self.made(node, ingredients) { () throws(TLSError) in
                    try TLSContext(client: configuration)
                }
            }
        }

        private static func made(
            _ node: ConfigNode, _ ingredients: TLSIngredients, _ make: () throws(TLSError) -> TLSContext
        ) throws(ConfigError) -> TLSContext? {
            try ingredients.finish()
            guard ingredients.needs.missing.isEmpty else { return nil }
            do { return try make() } catch { throw node.error("common_tls_context", error.description) }
        }
    }

    let side: Side
    let excerpt: ConfigExcerpt

    func context(_ ingredients: TLSIngredients) throws(ConfigError) -> TLSContext? {
        try side.context(try excerpt.node(), ingredients)
    }
}
