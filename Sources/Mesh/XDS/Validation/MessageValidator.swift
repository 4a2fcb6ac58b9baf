/// Checks the rules that the API states for its fields, in a message and all messages within.
///
/// Packed messages are not opened: their rules are checked when somebody reads them.
struct MessageValidator {
    private let schema: ProtoSchema
    private var path: [ConfigPath.Step]

    static func validate(_ message: Message, at path: ConfigPath) throws(ConfigError) {
        var validator = MessageValidator(schema: message.type.schema, path: path.steps)
        try validator.validate(message)
    }

    private init(schema: ProtoSchema, path: [ConfigPath.Step]) {
        self.schema = schema
        self.path = path
    }

    private mutating func validate(_ message: Message) throws(ConfigError) {
        let type = message.type
        for entry in message.entries {
            let field = type.fields[entry.position]
            if field.rules == nil, !field.kind.isMessage { continue }
            path.append(.field(field.name))
            try validate(entry.value, field)
            path.removeLast()
        }
        for position in type.checkedWhenAbsent where message[position] == nil {
            path.append(.field(type.fields[position].name))
            try validateAbsence(of: type.fields[position])
            path.removeLast()
        }
        for (position, oneof) in type.oneofs.enumerated() where oneof.isRequired {
            guard !message.entries.contains(where: { type.fields[$0.position].oneof == position }) else { continue }
            let names = type.fields.filter { $0.oneof == position }.map { "\"\($0.name)\"" }
            throw error("needs \(names.count == 1 ? "" : "one of ")\(names.joined(separator: ", "))")
        }
    }

    private func validateAbsence(of field: FieldType) throws(ConfigError) {
        guard let rules = field.rules else { return }
        if rules.isRequired { throw error("is required") }
        switch (field.cardinality, field.kind) {
        case (.single, .scalar(let scalar)): try check(scalar.zero, rules, field.kind)
        case (.single, .enumeration): try check(.int(0), rules, field.kind)
        case (.single, _): break
        case (.list, _), (.map, _): try check(count: 0, rules.items, "element")
        }
    }

    private mutating func validate(_ value: FieldValue, _ field: FieldType) throws(ConfigError) {
        let rules = field.rules
        switch value {
        case .list(let elements):
            if let rules {
                try check(count: elements.count, rules.items, "element")
                if rules.isUnique, Set(elements).count < elements.count { throw error("must not have equal elements") }
            }
            let each = rules?.each
            guard each != nil || field.kind.isMessage else { return }
            for (index, element) in elements.enumerated() {
                path.append(.element(index))
                if let each { try check(element, each, field.kind) }
                try descend(element, skipping: each?.isSkipped ?? false)
                path.removeLast()
            }
        case .map(let entries):
            if let rules { try check(count: entries.count, rules.items, "entry") }
            for entry in entries {
                if case .string(let key) = entry.key { path.append(.key(key)) } else { path.append(.key("")) }
                if let keys = rules?.keys, case .map(let keyType) = field.cardinality {
                    try check(entry.key, keys, .scalar(keyType))
                }
                if let values = rules?.values { try check(entry.value, values, field.kind) }
                try descend(entry.value, skipping: rules?.values?.isSkipped ?? false)
                path.removeLast()
            }
        case let value:
            if let rules { try check(value, rules, field.kind) }
            try descend(value, skipping: rules?.isSkipped ?? false)
        }
    }

    private mutating func descend(_ value: FieldValue, skipping: Bool) throws(ConfigError) {
        if !skipping, case .message(let message) = value { try validate(message) }
    }

    // MARK: One value

    private func check(_ value: FieldValue, _ rules: FieldRules, _ kind: FieldKind) throws(ConfigError) {
        switch value {
        case .string(let text):
            if rules.ignoresEmpty, text.isEmpty { return }
            try check(text, rules)
        case .bytes(let bytes):
            if rules.ignoresEmpty, bytes.isEmpty { return }
            try check(count: bytes.count, rules.length, "byte")
        case .bool(let value): try check(number: value ? 1 : 0, rules, "\(value)")
        case .int(let value):
            if rules.ignoresEmpty, value == 0 { return }
            if rules.isDefinedOnly, case .enumeration(let type) = kind, type.name(of: value) == nil {
                throw error("\(value) is none of \(type.valueNames.joined(separator: ", "))")
            }
            var text = "\(value)"
            if case .enumeration(let type) = kind, let name = type.name(of: value) { text = name }
            try check(number: Double(value), rules, text)
        case .uint(let value):
            if rules.ignoresEmpty, value == 0 { return }
            try check(number: Double(value), rules, "\(value)")
        case .double(let value):
            if rules.ignoresEmpty, value == 0 { return }
            try check(number: value, rules, "\(value)")
        case .duration(let duration):
            let (seconds, nanoseconds) = duration.protobufParts
            try check(number: Double(seconds) * 1e9 + Double(nanoseconds), rules, duration.protobufJSON, isTime: true)
        case .timestamp, .json, .any, .message, .list, .map: break
        }
    }

    private func check(_ text: String, _ rules: FieldRules) throws(ConfigError) {
        if rules.length.min > 0 || rules.length.max < .max {
            try check(count: text.unicodeScalars.count, rules.length, "character")
        }
        try check(count: text.utf8.count, rules.bytes, "byte")
        if let prefix = rules.prefix, !text.hasPrefix(prefix) { throw error("must begin with \"\(prefix)\"") }
        if let suffix = rules.suffix, !text.hasSuffix(suffix) { throw error("must end with \"\(suffix)\"") }
        if let infix = rules.infix, !text.contains(infix) { throw error("must contain \"\(infix)\"") }
        if !rules.allowedTexts.isEmpty, !rules.allowedTexts.contains(text) {
            throw error("must be one of \(rules.allowedTexts.joined(separator: ", "))")
        }
        if rules.forbiddenTexts.contains(text) { throw error("must not be \"\(text)\"") }
        if let form = rules.form, !form.matches(text) { throw error("must be \(form.description)") }
    }

    private func check(number: Double, _ rules: FieldRules, _ text: String, isTime: Bool = false) throws(ConfigError) {
        func name(_ bound: Double) -> String {
            if isTime { return Duration.nanoseconds(Int64(bound)).protobufJSON }
            return Int64(exactly: bound).map { "\($0)" } ?? "\(bound)"
        }
        if let constant = rules.constant, number != constant { throw error("must be \(name(constant)), is \(text)") }
        if let lower = rules.lower {
            // Not a number is within no bounds.
            guard lower.isInclusive ? number >= lower.value : number > lower.value else {
                throw error(
                    "must be \(lower.isInclusive ? "at least" : "greater than") \(name(lower.value)), is \(text)")
            }
        }
        if let upper = rules.upper {
            guard upper.isInclusive ? number <= upper.value : number < upper.value else {
                throw error("must be \(upper.isInclusive ? "at most" : "less than") \(name(upper.value)), is \(text)")
            }
        }
        if !rules.allowedNumbers.isEmpty, !rules.allowedNumbers.contains(number) {
            throw error("must be one of \(rules.allowedNumbers.map(name).joined(separator: ", ")), is \(text)")
        }
        if rules.forbiddenNumbers.contains(number) { throw error("must not be \(text)") }
    }

    private func check(count: Int, _ lengths: FieldRules.Lengths, _ unit: String) throws(ConfigError) {
        func amount(_ number: Int) -> String {
            let plural = unit == "entry" ? "entries" : unit + "s"
            return "\(number) \(number == 1 ? unit : plural)"
        }
        if count < lengths.min { throw error("must have at least \(amount(lengths.min)), has \(count)") }
        if count > lengths.max { throw error("must have at most \(amount(lengths.max)), has \(count)") }
    }

    private func error(_ reason: String) -> ConfigError { ConfigError(ConfigPath(path), reason) }
}
