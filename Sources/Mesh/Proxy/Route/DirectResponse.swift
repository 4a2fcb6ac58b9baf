import XDS

/// An answer that the proxy gives by itself.
package struct DirectResponse: Sendable {
    /// `max_direct_response_body_size_bytes`, of bodies in the configuration.
    static let defaultBodyLimit = 4096

    package var status: Int
    package var body: [UInt8]
    /// What is sent instead of the body, which it may repeat.
    var format: LocalReplyRules.Format?

    package init(status: Int, body: [UInt8] = []) {
        self.status = status
        self.body = body
    }

    init(_ node: ConfigNode, bodyLimit: Int) throws(ConfigError) {
        self.init(status: Int(node.uint32("status")), body: try node.message("body", DataSource.inline) ?? [])
        format = try node.message("body_format", LocalReplyRules.Format.init)
        guard body.count <= bodyLimit else {
            throw node.error("body", "of \(body.count) bytes is larger than \(bodyLimit), the table's limit")
        }
    }
}
