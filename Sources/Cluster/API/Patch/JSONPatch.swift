public import JSON

/// RFC 6902: a list of operations, applied in order, all or none.
public enum JSONPatch {
    /// Operations of one patch at most; upstream's bound.
    public static let operationLimit = 10_000
    /// Bytes that `copy` may add to the object in all; a short patch must not make a long object.
    public static let copyLimit = 3 << 20

    public static func apply(_ patch: JSONValue, to target: JSONValue) throws(PatchError) -> JSONValue {
        guard case .array(let operations) = patch else { throw .malformed("a JSON patch is an array of operations") }
        guard operations.count <= operationLimit else {
            throw .tooLarge(
                "The allowed maximum operations in a JSON patch is \(operationLimit), got \(operations.count)")
        }
        var document = target
        var copied = 0
        for json in operations {
            let operation = try Operation(json)
            switch operation.name {
            case "add": try add(operation.requiredValue(), at: operation.path, of: &document)
            case "remove": _ = try remove(operation.path, of: &document, operation: "remove")
            case "replace":
                guard find(operation.path, in: document) != nil else { throw missing(operation.path, "replace") }
                try replace(operation.requiredValue(), at: operation.path, of: &document)
            case "move":
                let from = try operation.requiredFrom()
                guard !(operation.path.tokens.starts(with: from.tokens) && operation.path != from) else {
                    throw .inapplicable("move operation: \(from.text) cannot be moved into itself")
                }
                let value = try remove(from, of: &document, operation: "move")
                try add(value, at: operation.path, of: &document)
            case "copy":
                let from = try operation.requiredFrom()
                guard let value = find(from, in: document) else { throw missing(from, "copy") }
                copied += value.encoded().count
                guard copied <= copyLimit else {
                    throw .tooLarge("the copy operations of a JSON patch add more than \(copyLimit) bytes")
                }
                try add(value, at: operation.path, of: &document)
            case "test":
                // An absent member equals null, as upstream has it.
                let value = find(operation.path, in: document) ?? .null
                guard value == (operation.value ?? .null) else {
                    throw .inapplicable("testing value \(operation.path.text) failed")
                }
            default: throw .malformed("Unexpected kind: \(operation.name)")
            }
        }
        return document
    }

    private static func missing(_ path: Pointer, _ operation: String) -> PatchError {
        .inapplicable("\(operation) operation does not apply: doc is missing path: \(path.text)")
    }

    // MARK: Operations

    private struct Operation {
        var name: String
        var path: Pointer
        var from: Pointer?
        var value: JSONValue?

        init(_ json: JSONValue) throws(PatchError) {
            guard let name = json["op"]?.string else { throw .malformed("a JSON patch operation has no \"op\"") }
            guard let path = json["path"]?.string else {
                throw .malformed("a JSON patch operation \"\(name)\" has no \"path\"")
            }
            self.name = name
            self.path = try Pointer(path)
            if let from = json["from"]?.string { self.from = try Pointer(from) }
            value = json["value"]
        }

        func requiredValue() throws(PatchError) -> JSONValue {
            guard let value else { throw .malformed("a JSON patch operation \"\(name)\" has no \"value\"") }
            return value
        }

        func requiredFrom() throws(PatchError) -> Pointer {
            guard let from else { throw .malformed("a JSON patch operation \"\(name)\" has no \"from\"") }
            return from
        }
    }

    /// RFC 6901.
    private struct Pointer: Equatable {
        var text: String
        var tokens: [String]

        init(_ text: String) throws(PatchError) {
            self.text = text
            guard text.isEmpty || text.first == "/" else {
                throw .malformed("JSON pointer \"\(text)\" must begin with /")
            }
            tokens = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(Self.unescaped)
        }

        private static func unescaped(_ token: Substring) -> String {
            guard token.utf8.contains(UInt8(ascii: "~")) else { return String(token) }
            var result: [UInt8] = []
            var isEscape = false
            for byte in token.utf8 {
                switch (isEscape, byte) {
                case (true, UInt8(ascii: "1")): result.append(UInt8(ascii: "/"))
                case (true, UInt8(ascii: "0")): result.append(UInt8(ascii: "~"))
                case (true, _): result += [UInt8(ascii: "~"), byte]
                case (false, UInt8(ascii: "~")): break
                case (false, _): result.append(byte)
                }
                isEscape = !isEscape && byte == UInt8(ascii: "~")
            }
            if isEscape { result.append(UInt8(ascii: "~")) }
            return String(decoding: result, as: UTF8.self)
        }
    }

    // MARK: Places

    private static func find(_ path: Pointer, in document: JSONValue) -> JSONValue? {
        var value = document
        for token in path.tokens {
            switch value {
            case .object(let object):
                guard let member = object[token] else { return nil }
                value = member
            case .array(let elements):
                guard let index = index(token, elements.count), index < elements.count else { return nil }
                value = elements[index]
            default: return nil
            }
        }
        return value
    }

    /// Digits without a leading zero. Negative indexes count from the end in upstream's old library; they are refused.
    private static func index(_ token: String, _ count: Int) -> Int? {
        guard token == "0" || token.utf8.first != UInt8(ascii: "0"),
            token.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") })
        else { return nil }
        return Int(token)
    }

    private static func add(_ value: JSONValue, at path: Pointer, of document: inout JSONValue) throws(PatchError) {
        guard let last = path.tokens.last else {
            document = value
            return
        }
        try change(&document, path.tokens.dropLast(), path, "add") { (parent) throws(PatchError) in
            switch parent {
            case .object(var object):
                parent = .null
                object[last] = value
                parent = .object(object)
            case .array(var elements):
                let index = last == "-" ? elements.count : index(last, elements.count)
                guard let index, index <= elements.count else {
                    throw .inapplicable(
                        "add operation does not apply: doc is missing path: \"\(path.text)\": index out of bounds")
                }
                parent = .null
                elements.insert(value, at: index)
                parent = .array(elements)
            default: throw missing(path, "add")
            }
        }
    }

    private static func replace(_ value: JSONValue, at path: Pointer, of document: inout JSONValue) throws(PatchError) {
        try change(&document, path.tokens[...], path, "replace") { (place) throws(PatchError) in place = value }
    }

    private static func remove(
        _ path: Pointer, of document: inout JSONValue, operation: String
    ) throws(PatchError) -> JSONValue {
        guard let last = path.tokens.last else {
            throw .inapplicable("\(operation) operation does not apply to the whole object")
        }
        var removed: JSONValue?
        try change(&document, path.tokens.dropLast(), path, operation) { (parent) throws(PatchError) in
            switch parent {
            case .object(var object):
                parent = .null
                removed = object.removeValue(forKey: last)
                parent = .object(object)
            case .array(var elements):
                guard let index = index(last, elements.count), index < elements.count else {
                    throw missing(path, operation)
                }
                parent = .null
                removed = elements.remove(at: index)
                parent = .array(elements)
            default: throw missing(path, operation)
            }
        }
        guard let removed else { throw missing(path, operation) }
        return removed
    }

    /// Goes down to a place and changes it there, without copying what lies beside the way.
    private static func change(
        _ value: inout JSONValue, _ tokens: ArraySlice<String>, _ path: Pointer, _ operation: String,
        _ body: (inout JSONValue) throws(PatchError) -> Void
    ) throws(PatchError) {
        guard let token = tokens.first else { return try body(&value) }
        switch value {
        case .object(var object):
            guard var member = object[token] else { throw missing(path, operation) }
            value = .null
            object[token] = .null
            try change(&member, tokens.dropFirst(), path, operation, body)
            object[token] = member
            value = .object(object)
        case .array(var elements):
            guard let index = index(token, elements.count), index < elements.count else {
                throw missing(path, operation)
            }
            value = .null
            try change(&elements[index], tokens.dropFirst(), path, operation, body)
            value = .array(elements)
        default: throw missing(path, operation)
        }
    }
}
