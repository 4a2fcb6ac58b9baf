import Bytes
import ClusterAPI
import JSON
import Store

/// An object as the store keeps it: canonical JSON without its resourceVersion, and where that belongs.
///
/// The resourceVersion is the revision of the write, known only once the write is done; splicing it in when the object is
/// sent saves every encoding after the first. Layout: four bytes little-endian, the position in the text that follows.
struct StoredObject: Sendable {
    /// Position and text.
    let bytes: [UInt8]
    /// What `resourceVersion` says; zero for an object that was never stored, which then has none.
    var revision: Revision

    private static let headerLength = 4

    init(_ value: StoredValue) {
        bytes = value.value
        revision = value.modified
    }

    /// A stored object shown under another revision: a removed object carries the removal's.
    init(_ value: StoredValue, as revision: Revision) {
        bytes = value.value
        self.revision = revision
    }

    /// Encodes an object for the store. A resourceVersion in it is left out.
    init(encoding object: JSONValue) {
        bytes = Self.encode(object)
        revision = .zero
    }

    private static func encode(_ object: JSONValue) -> [UInt8] {
        var out: [UInt8] = [0, 0, 0, 0]
        out.reserveCapacity(1024)
        var splice = 0
        out.append(UInt8(ascii: "{"))
        var first = true
        for (key, value) in object.object ?? JSONObject() {
            if !first { out.append(UInt8(ascii: ",")) }
            first = false
            JSONValue.string(key).write(into: &out)
            out.append(UInt8(ascii: ":"))
            if key == "metadata", let metadata = value.object {
                writeMetadata(metadata, into: &out, splice: &splice)
            } else {
                value.write(into: &out)
            }
        }
        out.append(UInt8(ascii: "}"))
        let position = UInt32(truncatingIfNeeded: splice - headerLength)
        for shift in 0..<4 { out[shift] = UInt8(truncatingIfNeeded: position >> (8 * UInt32(shift))) }
        return out
    }

    /// Members come in order of their names, and every object has a name, which comes before "resourceVersion": the
    /// splice always follows a member.
    private static func writeMetadata(_ metadata: JSONObject, into out: inout [UInt8], splice: inout Int) {
        out.append(UInt8(ascii: "{"))
        var first = true
        splice = out.count
        for (key, value) in metadata where key != "resourceVersion" {
            if !first { out.append(UInt8(ascii: ",")) }
            first = false
            JSONValue.string(key).write(into: &out)
            out.append(UInt8(ascii: ":"))
            value.write(into: &out)
            if key < "resourceVersion" { splice = out.count }
        }
        out.append(UInt8(ascii: "}"))
    }

    /// Where the text's splice point is, in `bytes`.
    private var splice: Int {
        guard bytes.count > Self.headerLength else { return bytes.count }
        let position = UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
        return min(bytes.count, Int(position) + Self.headerLength)
    }

    /// Bytes that `write` appends, about.
    var length: Int { bytes.count + 32 }

    /// Appends the object's JSON with its resourceVersion.
    func write(into out: inout [UInt8]) {
        guard bytes.count > Self.headerLength else { return }
        guard revision != .zero else {
            out.append(contentsOf: bytes[Self.headerLength...])
            return
        }
        let splice = splice
        out.append(contentsOf: bytes[Self.headerLength..<splice])
        out.append(contentsOf: #","resourceVersion":""#.utf8)
        out.appendDecimal(revision.rawValue)
        out.append(UInt8(ascii: "\""))
        out.append(contentsOf: bytes[splice...])
    }

    /// The object as a value, resourceVersion included.
    func json() throws(StatusError) -> JSONValue {
        do {
            var object = try bytes.withUnsafeBytes { bytes in
                try JSONValue.parse(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(Self.headerLength)))
            }
            if revision != .zero {
                var metadata = object["metadata"] ?? .object(JSONObject())
                object["metadata"] = nil
                metadata["resourceVersion"] = .string(revision.description)
                object["metadata"] = metadata
            }
            return object
        } catch {
            throw .internalError("a stored object cannot be read: \(error)")
        }
    }

    /// Whether the objects are the same but for their revisions.
    func hasSameContent(as other: StoredObject) -> Bool { bytes == other.bytes }
}
