public import ClusterAPI
public import HTTP

/// Paths that are no resources and that another part of the control plane answers: `/mesh/…`. Who asks is authenticated before,
/// and authorized by `nonResourceURLs`.
public struct ServedPath: Sendable {
    /// With a slash at both ends.
    public var prefix: String
    /// A ClusterRole of this name, made at the start, may read all of it. Empty: none is made.
    public var readerRole: String
    /// Called on a loop of the server's; anything that takes long suspends.
    public var serve: @Sendable (HTTPRequest) async throws(StatusError) -> Answer

    public struct Answer: Sendable {
        public var status: Int
        public var contentType: String
        public var body: [UInt8]

        public init(status: Int = 200, contentType: String = "application/json", body: [UInt8]) {
            self.status = status
            self.contentType = contentType
            self.body = body
        }
    }

    public init(
        prefix: String, readerRole: String = "",
        serve: @escaping @Sendable (HTTPRequest) async throws(StatusError) -> Answer
    ) {
        precondition(prefix.hasPrefix("/") && prefix.hasSuffix("/"), "a prefix ends with a segment")
        self.prefix = prefix
        self.readerRole = readerRole
        self.serve = serve
    }

    func covers(_ path: Substring) -> Bool { path.hasPrefix(prefix) || path == prefix.dropLast() }
}
