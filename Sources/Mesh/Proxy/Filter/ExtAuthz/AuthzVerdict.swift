import HTTP
import JSON

/// What an authorization service says of a request, in whichever protocol it says so.
struct AuthzVerdict {
    enum Kind { case ok, denied, failed }

    /// A change of one header field.
    struct Change {
        enum Action { case set, add, addIfAbsent, setIfPresent, appendToValue }
        var key: HeaderKey
        var value: [UInt8]
        var action: Action
    }

    var kind: Kind
    /// Of a denial or a failure; nil for what is usual.
    var status: Int?
    var body: [UInt8] = []
    /// Of the request that goes on, or of the denial.
    var headers: [Change] = []
    /// Fields of the request that do not go on.
    var removed: [HeaderKey] = []
    /// Of the response to a request that went on.
    var responseHeaders: [Change] = []
    var setParameters: [(name: [UInt8], value: [UInt8])] = []
    var removedParameters: [[UInt8]] = []
    var metadata: JSONObject?

    init(_ kind: Kind) { self.kind = kind }

    /// Changes the request; false when there was nothing to change.
    func apply(to request: HeaderBlock) -> Bool {
        for var change in headers {
            if change.key.name == .host { change.key = Self.authority }
            change.apply(to: request)
        }
        for key in removed where !key.isPseudo && key.name != .host { request.remove(key) }
        if !setParameters.isEmpty || !removedParameters.isEmpty { changeQuery(of: request) }
        return !headers.isEmpty || !removed.isEmpty || !setParameters.isEmpty || !removedParameters.isEmpty
    }

    private static let authority = HeaderKey(":authority")

    /// Parameters come out in the order of their names, as Envoy has them.
    private func changeQuery(of request: HeaderBlock) {
        let path = request.path
        let mark = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
        var pieces: [(name: [UInt8], value: [UInt8])] = []
        for piece in path[min(mark + 1, path.count)...].split(separator: UInt8(ascii: "&")) {
            let name = piece.prefix { $0 != UInt8(ascii: "=") }
            if removedParameters.contains(where: { name.elementsEqual($0) }) { continue }
            if setParameters.contains(where: { name.elementsEqual($0.name) }) { continue }
            pieces.append((Array(name), Array(piece.dropFirst(name.count + 1))))
        }
        pieces += setParameters
        // Stable, so that those of one name stay in their order.
        pieces.sort { $0.name.lexicographicallyPrecedes($1.name) }
        var changed = Array(path[..<mark])
        for (index, piece) in pieces.enumerated() {
            changed.append(UInt8(ascii: index == 0 ? "?" : "&"))
            changed += piece.name + [UInt8(ascii: "=")] + piece.value
        }
        changed.withUnsafeBytes { request.setPath($0) }
    }
}

extension AuthzVerdict.Change {
    func apply(to block: HeaderBlock) {
        value.withUnsafeBytes { value in
            switch action {
            case .set: block.set(key, value)
            case .add: block.add(key, value)
            case .addIfAbsent: if block.value(key) == nil { block.add(key, value) }
            case .setIfPresent: if block.value(key) != nil { block.set(key, value) }
            case .appendToValue:
                guard let present = block.find(key) else { return }
                let joined = Array(block.value(block.fields[present])) + [UInt8(ascii: ",")] + self.value
                joined.withUnsafeBytes { block.replace(present, $0) }
            }
        }
    }
}
