// Kubernetes REST as real clients speak it, over a Store: one generic path for every resource.
//
// Follow a request through the folders: Serve (HTTP in and out, and the same without HTTP) → Request (what is asked) →
// Authenticate → Authorize → Admit → Write or Read, Subresource → Storage → Watch (what others see of it) → Encode.

public import Bytes
public import ClusterAPI
public import ClusterClient
public import HTTP
import JSON
public import Store
public import TLS
public import Telemetry

/// What an API server must be told.
public struct APIServerConfig: Sendable {
    /// Ranges of cluster addresses of Services, first the one used by default.
    public var serviceCIDRs: [CIDR]
    public var nodePorts: ClosedRange<UInt16> = 30_000...32_767
    public var clusterDomain = "cluster.local"
    /// Where pods and nodes reach this server.
    public var advertiseAddress: IPAddress
    public var securePort: UInt16 = 6443
    /// `iss` of service account tokens.
    public var serviceAccountIssuer: String
    /// Signs service account tokens; P-256.
    public var serviceAccountKey: PrivateKey
    /// Bearer tokens from a file.
    public var staticTokens: [String: UserInfo] = [:]
    /// For requests to node agents: this server's client certificate, and whom it trusts.
    public var nodeAgentTLS: TLSContext?
    /// What other parts of the control plane serve here.
    public var paths: [ServedPath] = []
    /// What `/metrics` shows; others in this process add theirs.
    public var metrics = MetricsRegistry()
    /// What other rooms say to objects that are made, behind the server's own admission.
    public var admissions: [any CreationAdmission] = []

    public init(
        serviceCIDRs: [CIDR], advertiseAddress: IPAddress, serviceAccountIssuer: String, serviceAccountKey: PrivateKey
    ) {
        precondition(!serviceCIDRs.isEmpty, "a cluster has a service range")
        self.serviceCIDRs = serviceCIDRs
        self.advertiseAddress = advertiseAddress
        self.serviceAccountIssuer = serviceAccountIssuer
        self.serviceAccountKey = serviceAccountKey
    }
}

/// The API server: an `HTTPHandler` for an `HTTPServer`, and a transport for controllers in this process.
public final class APIServer: Sendable {
    private let service: APIService
    private let apiHandler: APIHandler
    private let documents: ServerDocuments
    private let bootstrap: Bootstrap
    private let readiness = Readiness()
    private let watches = OpenWatches()

    /// - Parameter authorizer: decides what authenticated users may do; what it has no opinion about, roles decide.
    public init(
        store: any Store, schema: Schema = .shared, config: APIServerConfig,
        authorizer: any Authorizer = GroupAuthorizer()
    ) {
        let storage = ObjectStorage(store: store)
        let registry = Registry(
            schema: schema, storage: storage, admission: .standard(adding: config.admissions),
            services: ServiceAllocator(ranges: config.serviceCIDRs, nodePorts: config.nodePorts))
        let authorizer = AuthorizerChain(authorizers: [authorizer, RoleAuthorizer(schema: schema, storage: storage)])
        let agents = NodeAgents(tls: config.nodeAgentTLS)
        let tokens = ServiceAccountTokens(issuer: config.serviceAccountIssuer, key: config.serviceAccountKey)
        let authenticator = Authenticator(staticTokens: config.staticTokens, serviceAccounts: tokens)
        let metrics = RequestMetrics(config.metrics)
        metrics.watch(watches, storage)
        let address = SocketAddress.ip(config.advertiseAddress, Port(config.securePort), scope: 0).description
        service = APIService(
            registry: registry, reviews: Reviews(authenticator: authenticator, authorizer: authorizer), tokens: tokens,
            agents: agents)
        documents = ServerDocuments(
            version: .current, discovery: Discovery(schema.resources, serverAddress: address),
            openAPI: OpenAPIDocuments(schema.resources, schema: schema, version: ServerVersion.current.gitVersion),
            tokens: tokens, externalAddress: address, metrics: metrics, storage: storage, readiness: readiness)
        apiHandler = APIHandler(
            service: service, authenticator: authenticator, authorizer: authorizer, documents: documents,
            metrics: metrics, watches: watches,
            proxy: ProxySubresource(registry: registry, agents: agents), paths: config.paths)
        bootstrap = Bootstrap(
            registry: registry, advertiseAddress: config.advertiseAddress, securePort: config.securePort,
            paths: config.paths)
    }

    /// Reads a file of static bearer tokens: one line a token, `token,user,uid,"group1,group2"`.
    public static func staticTokens(_ text: String) throws(ConfigurationError) -> [String: UserInfo] {
        try Authenticator.staticTokens(text)
    }

    /// Takes note of what the store holds and makes what every cluster has. Before the first request.
    /// - Throws: `StatusError` when the store does not take it.
    public func prepare() async throws {
        try await bootstrap.run()
        readiness.becomeReady()
    }

    /// For `HTTPServer`.
    public var handler: any HTTPHandler { apiHandler }

    /// Limits for the `HTTPServer`: bodies a little above the API's own bound, so that the refusal is a Status; and
    /// watchers that take long to read are waited for.
    public static var limits: HTTPLimits {
        var limits = HTTPLimits.standard
        limits.bodyBytes = APIHandler.bodyLimit + (1 << 20)
        limits.writeTimeout = .seconds(3600)
        return limits
    }

    /// The API without bytes between, for controllers of this process.
    public func transport(as user: UserInfo = .server) -> any APITransport {
        LocalTransport(service: service, documents: documents, user: user)
    }

    /// Removes what has outlived its time, until the surrounding task is cancelled.
    public func maintain() async {
        while !Task.isCancelled {
            do {
                try await pause(.seconds(300))
                let cutoff = Timestamp.now().adding(.seconds(-Registry.eventLife))
                try await service.registry.expireEvents(before: cutoff)
            } catch {
                // Cancelled, or the store is in trouble, which its writers hear about; the next turn tries again.
            }
        }
    }

    /// Ends open watches in good order and reports not ready; the HTTP server is drained after.
    public func beginStopping() {
        readiness.beginStopping()
        watches.endAll()
    }
}
