import ClusterAPI

/// How objects go out: the format of the bytes, and what of the object is in them.
struct ObjectEncoding: Hashable, Sendable {
    enum Format: Hashable, Sendable { case json, yaml, protobuf }

    enum Shape: Hashable, Sendable {
        case full
        /// Metadata alone; the version is that of `meta.k8s.io`.
        case partial(version: String)
        /// Rows for people; `withColumns` is false in a watch after its first event.
        case table(version: String, include: Table.IncludeObject, withColumns: Bool)
    }

    var format = Format.json
    var shape = Shape.full

    static let json = ObjectEncoding()

    var contentType: String {
        switch format {
        case .json: "application/json"
        case .yaml: "application/yaml"
        case .protobuf: "application/vnd.kubernetes.protobuf"
        }
    }

    /// Of a watch.
    var streamContentType: String { format == .protobuf ? contentType + ";stream=watch" : contentType }

    var withoutColumns: ObjectEncoding {
        guard case .table(let version, let include, _) = shape else { return self }
        return ObjectEncoding(format: format, shape: .table(version: version, include: include, withColumns: false))
    }
}

/// Reads what a client accepts and picks the first of it that can be served.
enum Negotiation {
    /// One entry of an Accept header.
    struct MediaRange {
        var type: Substring
        var parameters: [(name: Substring, value: Substring)]

        subscript(name: String) -> Substring? { parameters.first { $0.name == name }?.value }
    }

    /// Entries looked at; nobody sends more.
    private static let rangeLimit = 32

    static func ranges(_ accept: String) -> [MediaRange] {
        accept.split(separator: ",").prefix(rangeLimit).map { entry in
            let parts = entry.split(separator: ";").map { trim($0) }
            return MediaRange(
                type: parts.first ?? "",
                parameters: parts.dropFirst().map { part in
                    guard let equals = part.firstIndex(of: "=") else { return (part, "") }
                    return (trim(part[..<equals]), trim(part[part.index(after: equals)...]))
                })
        }
    }

    /// For objects, lists and watches.
    /// - Parameters:
    ///   - allowsShapes: whether tables and metadata alone make sense; not for what is not stored.
    ///   - hasProtobuf: whether whole objects of the kind have such a form; metadata always has.
    ///   - include: the query's `includeObject`.
    /// - Throws: `notAcceptable`.
    static func objects(
        _ accept: String?, allowsShapes: Bool, hasProtobuf: Bool = true, include: String?
    ) throws(StatusError) -> ObjectEncoding {
        guard let accept, !accept.isEmpty else { return .json }
        for range in ranges(accept) {
            guard let format = format(range.type) else { continue }
            guard let shape = range["as"], !shape.isEmpty else {
                guard format != .protobuf || hasProtobuf else { continue }
                return ObjectEncoding(format: format)
            }
            guard allowsShapes, range["g"] == "meta.k8s.io", let version = range["v"],
                version == "v1" || version == "v1beta1"
            else { continue }
            switch shape {
            case "Table":
                // Cells are of any type, which protobuf has no way to say.
                guard format != .protobuf else { continue }
                let include = try Table.IncludeObject(query: include)
                return ObjectEncoding(
                    format: format, shape: .table(version: String(version), include: include, withColumns: true))
            case "PartialObjectMetadata", "PartialObjectMetadataList":
                return ObjectEncoding(format: format, shape: .partial(version: String(version)))
            default: continue
            }
        }
        throw .notAcceptable(
            accepted: ["application/json", "application/yaml"]
                + (hasProtobuf ? ["application/vnd.kubernetes.protobuf"] : []))
    }

    private static func format(_ type: Substring) -> ObjectEncoding.Format? {
        switch type {
        case "application/json", "*/*", "application/*": .json
        case "application/yaml": .yaml
        case "application/vnd.kubernetes.protobuf": .protobuf
        default: nil
        }
    }

    private static func trim(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
