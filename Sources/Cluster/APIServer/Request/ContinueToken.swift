import Bytes
import ClusterAPI
import JSON
import Store

/// Where the next page of a list begins, and which state of the store it shows.
struct ContinueToken: Sendable, Hashable {
    /// Nil: the first page's state has been compacted away, and the client goes on with the newest.
    var revision: Revision?
    /// The last key that was shown, below the resource's prefix.
    var after: String

    /// Longest token taken, bytes.
    static let limit = 4096

    init(revision: Revision?, after: String) {
        self.revision = revision
        self.after = after
    }

    init(_ text: String) throws(StatusError) {
        // The start is written as the first key after the last shown: that key and a zero byte.
        guard text.utf8.count <= Self.limit, let bytes = Base64.decodeURLSafe(text),
            let json = try? JSONValue.parse(bytes),
            json["v"]?.string == "meta.k8s.io/v1", let number = json["rv"]?.int, number != 0, number >= -1,
            let start = json["start"]?.string, start.hasSuffix("\0"), start.utf8.count > 1
        else { throw .badRequest("continue key is not valid") }
        revision = number == -1 ? nil : Revision(rawValue: number)
        after = String(start.dropLast())
    }

    var text: String {
        let json: JSONValue = [
            "v": "meta.k8s.io/v1", "rv": .int(revision?.rawValue ?? -1), "start": .string(after + "\0"),
        ]
        return Base64.encodeURLSafe(json.encoded())
    }
}
