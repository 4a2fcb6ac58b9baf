import ClusterAPI
import JSON

/// One request for a resource, whichever way it came: who wants what done to which object.
struct APICall: Sendable {
    enum Verb: String, Sendable {
        case get, list, watch, create, update, patch, delete, deletecollection

        /// Whether it changes something.
        var writes: Bool {
            switch self {
            case .get, .list, .watch: false
            default: true
            }
        }
    }

    var user: UserInfo
    var verb: Verb
    var resource: ResourceDescription
    var namespace = ""
    var name = ""
    var subresource = ""
    var parameters = Parameters()
    var body: DecodedBody?
    var patchType: PatchType?
    /// The client's name for itself, from which a field manager's name is made when none is given.
    var userAgent = ""

    var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

    var attributes: AccessAttributes {
        var attributes = AccessAttributes(verb: verb.rawValue)
        attributes.group = resource.gvr.group
        attributes.version = resource.gvr.version
        attributes.resource = resource.gvr.resource
        attributes.subresource = subresource
        attributes.namespace = namespace
        attributes.name = name
        return attributes
    }

    /// The body, which the verb needs.
    func requireBody() throws(StatusError) -> DecodedBody {
        guard let body else { throw .badRequest("the request needs a body") }
        return body
    }
}

/// A body as a value, with what strict readers mind about its text.
struct DecodedBody: Sendable {
    var json: JSONValue
    /// Members written twice, as paths.
    var duplicates: [String] = []
}

/// The patch formats.
enum PatchType: String, Sendable {
    case json = "application/json-patch+json"
    case merge = "application/merge-patch+json"
    case strategic = "application/strategic-merge-patch+json"
    case apply = "application/apply-patch+yaml"
}

/// What a call came to.
struct APIAnswer: Sendable {
    enum Content: Sendable {
        case object(StoredObject)
        /// A value that is not stored: a Status, a review, a Scale.
        case json(JSONValue)
        case list(ObjectList)
        case watch(WatchSession)
        /// Bytes from elsewhere, as they come: logs.
        case stream(ByteStream)
    }

    var code = 200
    var content: Content
    /// For the header `Warning`.
    var warnings: [String] = []
}

/// Bytes that come over time.
struct ByteStream: Sendable {
    var contentType: String
    /// The next piece; nil at the end.
    var next: @Sendable () async throws -> [UInt8]?
}

/// A page of a list.
struct ObjectList: Sendable {
    var resource: ResourceDescription
    var items: [StoredObject]
    var revision: Int64
    /// Empty on the last page.
    var continueToken = ""
    /// Nil when it is unknown.
    var remaining: Int?
}
