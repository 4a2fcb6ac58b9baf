import Bytes
import ClusterAPI
import JSON
import YAML

/// Writes answers of one resource in one encoding.
struct ObjectEncoder: Sendable {
    let schema: Schema
    let resource: ResourceDescription
    let encoding: ObjectEncoding

    /// Whether the stored bytes are the answer as they are.
    private var isPlain: Bool {
        encoding == .json && resource.gvk == resource.storageKind
    }

    // MARK: Answers

    func object(_ object: StoredObject) throws(StatusError) -> [UInt8] {
        if isPlain {
            var out: [UInt8] = []
            out.reserveCapacity(object.length)
            object.write(into: &out)
            out.append(UInt8(ascii: "\n"))
            return out
        }
        return try value(shaped(try json(object)))
    }

    /// Any value in the encoding's format.
    func value(_ json: JSONValue) throws(StatusError) -> [UInt8] {
        switch encoding.format {
        case .json:
            var out = json.encoded()
            out.append(UInt8(ascii: "\n"))
            return out
        case .yaml:
            do { return Array(try YAML.text(json).utf8) } catch { throw .internalError("\(error)") }
        case .protobuf: return try ProtobufBodies.encode(json, schema)
        }
    }

    func list(_ list: ObjectList) throws(StatusError) -> [UInt8] {
        var metadata: JSONValue = ["resourceVersion": .string(String(list.revision))]
        if !list.continueToken.isEmpty { metadata["continue"] = .string(list.continueToken) }
        if let remaining = list.remaining { metadata["remainingItemCount"] = .int(Int64(remaining)) }
        if isPlain {
            var out: [UInt8] = []
            out.reserveCapacity(256 + list.items.reduce(0) { $0 + $1.length })
            out.append(utf8: #"{"kind":""#)
            out.append(utf8: resource.listKind.kind)
            out.append(utf8: #"","apiVersion":""#)
            out.append(utf8: resource.gvk.apiVersion)
            out.append(utf8: #"","metadata":"#)
            metadata.write(into: &out)
            out.append(utf8: #","items":["#)
            for (index, item) in list.items.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                item.write(into: &out)
            }
            out.append(utf8: "]}\n")
            return out
        }
        var items: [JSONValue] = []
        items.reserveCapacity(list.items.count)
        for item in list.items { items.append(try json(item)) }
        switch encoding.shape {
        case .full:
            return try value([
                "kind": .string(resource.listKind.kind), "apiVersion": .string(resource.gvk.apiVersion),
                "metadata": metadata, "items": .array(items),
            ])
        case .partial(let version):
            return try value(PartialObjectMetadata.list(of: items, metadata: metadata, version: version))
        case .table(let version, let include, _):
            let table = Table(resource.gvk, version: version, include: include)
            return try value(table.json(of: items, metadata: metadata, now: .now()))
        }
    }

    // MARK: Watch frames

    /// Appends the frame of a write, from the record's cache if it is not the plain one.
    func writeFrame(_ kind: WatchKind, _ record: ChangeRecord, into out: inout [UInt8]) {
        if isPlain, let object = kind == .deleted ? record.previous : record.current {
            writePlain(kind.text, object, into: &out)
            return
        }
        out.append(
            contentsOf: record.frame(kind, encoding, resource.gvk) { json in
                frame(kind.text, shaped(StorageConversion.fromStorage(json, to: resource)))
            })
    }

    /// Appends the frame of an object of the initial state.
    func writeFrame(_ kind: WatchKind, _ object: StoredObject, into out: inout [UInt8]) throws(StatusError) {
        if isPlain {
            writePlain(kind.text, object, into: &out)
        } else {
            out.append(contentsOf: frame(kind.text, shaped(try json(object))))
        }
    }

    /// An object of the resource's kind with nothing but a resourceVersion.
    func bookmark(_ revision: Int64, endsInitial: Bool) -> [UInt8] {
        var metadata: JSONValue = ["resourceVersion": .string(String(revision)), "creationTimestamp": .null]
        metadata["creationTimestamp"] = nil
        if endsInitial { metadata["annotations"] = ["k8s.io/initial-events-end": "true"] }
        let object: JSONValue = [
            "kind": .string(resource.gvk.kind), "apiVersion": .string(resource.gvk.apiVersion), "metadata": metadata,
        ]
        if case .table(let version, let include, let withColumns) = encoding.shape {
            // A table's bookmark is a table without rows.
            let table = Table(resource.gvk, version: version, include: include)
            return frame(
                "BOOKMARK", table.json(of: [], metadata: metadata, withColumns: withColumns, now: .now()))
        }
        return frame("BOOKMARK", shaped(object))
    }

    func error(_ error: StatusError) -> [UInt8] { frame("ERROR", error.json) }

    private func writePlain(_ type: String, _ object: StoredObject, into out: inout [UInt8]) {
        out.reserveCapacity(out.count + object.length + 40)
        out.append(utf8: #"{"type":""#)
        out.append(utf8: type)
        out.append(utf8: #"","object":"#)
        object.write(into: &out)
        out.append(utf8: "}\n")
    }

    private func frame(_ type: String, _ object: JSONValue) -> [UInt8] {
        if encoding.format == .protobuf { return ProtobufBodies.watchFrame(type, object, schema) }
        var out: [UInt8] = []
        out.append(utf8: #"{"type":""#)
        out.append(utf8: type)
        out.append(utf8: #"","object":"#)
        object.write(into: &out)
        out.append(utf8: "}\n")
        return out
    }

    // MARK: Shapes

    private func json(_ object: StoredObject) throws(StatusError) -> JSONValue {
        StorageConversion.fromStorage(try object.json(), to: resource)
    }

    private func shaped(_ json: JSONValue) -> JSONValue {
        switch encoding.shape {
        case .full: json
        case .partial(let version): PartialObjectMetadata.json(of: json, version: version)
        case .table(let version, let include, let withColumns):
            Table(resource.gvk, version: version, include: include).json(
                of: [json], withColumns: withColumns, now: .now())
        }
    }
}
