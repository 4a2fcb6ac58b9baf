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
    /// Of a denial.
    var status = 403
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
        for change in headers { change.apply(to: request) }
        for key in removed where !key.isPseudo && key.name != .host { request.remove(key) }
        if !setParameters.isEmpty || !removedParameters.isEmpty { changeQuery(of: request) }
        return !headers.isEmpty || !removed.isEmpty || !setParameters.isEmpty || !removedParameters.isEmpty
    }

    private func changeQuery(of request: HeaderBlock) {
        let path = request.path
        let mark = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
        var pieces: [[UInt8]] = []
        for piece in path[min(mark + 1, path.count)...].split(separator: UInt8(ascii: "&")) {
            let name = piece.prefix { $0 != UInt8(ascii: "=") }
            if removedParameters.contains(where: { name.elementsEqual($0) }) { continue }
            if setParameters.contains(where: { name.elementsEqual($0.name) }) { continue }
            pieces.append(Array(piece))
        }
        for parameter in setParameters { pieces.append(parameter.name + [UInt8(ascii: "=")] + parameter.value) }
        var changed = Array(path[..<mark])
        for (index, piece) in pieces.enumerated() {
            changed.append(UInt8(ascii: index == 0 ? "?" : "&"))
            changed += piece
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
