import JSON

/// A value together with its place in the object, so that a rule can read the one and name the other.
struct Field {
    var value: JSONValue?
    var path: FieldPath

    init(_ value: JSONValue?, _ path: FieldPath = FieldPath()) {
        self.value = value == .null ? nil : value
        self.path = path
    }

    subscript(key: String) -> Field { Field(value?[key], path.child(key)) }

    /// The elements of a list.
    var elements: [Field] { (value?.array ?? []).enumerated().map { Field($1, path.index($0)) } }

    /// The entries of a map.
    var entries: [(key: String, field: Field)] {
        (value?.object ?? [:]).map { ($0.key, Field($0.value, path.key($0.key))) }
    }

    var exists: Bool { value != nil }
    /// "" when absent.
    var text: String { value?.string ?? "" }
    var int: Int64? { value?.int }
    var isTrue: Bool { value == .bool(true) }
    /// Absent, "", [] or {}.
    var isEmpty: Bool {
        switch value {
        case nil: true
        case .string(let text)?: text.isEmpty
        case .array(let list)?: list.isEmpty
        case .object(let map)?: map.isEmpty
        default: false
        }
    }

    func invalid(_ detail: String) -> FieldError { .invalid(path, value ?? .string(""), detail) }
}

/// What a validation found, in the order found.
struct Findings {
    var errors: [FieldError] = []

    mutating func add(_ error: FieldError) { errors.append(error) }

    /// - Returns: whether it is there.
    @discardableResult
    mutating func require(_ field: Field, _ detail: String = "") -> Bool {
        if field.isEmpty { add(.required(field.path, detail)) }
        return !field.isEmpty
    }

    /// Applies a rule of `Names`; an absent field is not its business.
    mutating func check(_ field: Field, _ rule: (String) -> [String]) {
        guard field.exists else { return }
        for problem in rule(field.text) { add(field.invalid(problem)) }
    }

    /// A required field that a rule of `Names` holds for.
    mutating func require(_ field: Field, _ rule: (String) -> [String]) {
        if require(field) { check(field, rule) }
    }

    mutating func oneOf(_ field: Field, _ words: [String], required: Bool = false) {
        if field.isEmpty {
            if required { add(.required(field.path)) }
        } else if !words.contains(field.text) {
            add(.notSupported(field.path, field.value ?? .null, supported: words))
        }
    }

    mutating func nonNegative(_ field: Field) {
        if let number = field.int, number < 0 { add(field.invalid("must be greater than or equal to 0")) }
    }

    mutating func positive(_ field: Field) {
        if let number = field.int, number <= 0 { add(field.invalid("must be greater than 0")) }
    }

    mutating func port(_ field: Field) {
        guard let number = field.int else { return }
        for problem in Names.portNumber(number) { add(field.invalid(problem)) }
    }

    /// Refuses a change of the field.
    mutating func immutable(_ new: Field, _ old: Field, _ detail: String = "field is immutable") {
        if (new.value ?? .null) != (old.value ?? .null) { add(.invalid(new.path, new.value ?? .null, detail)) }
    }

    /// Port by number or name.
    mutating func portOrName(_ field: Field) {
        if field.int != nil { port(field) } else { check(field, Names.portName) }
    }

    /// A count or a percentage.
    mutating func countOrPercent(_ field: Field) {
        guard let value = field.value else { return }
        if value.int != nil { return nonNegative(field) }
        let text = field.text
        let digits = text.dropLast()
        if !text.hasSuffix("%") || digits.isEmpty || !digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            add(
                field.invalid(
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
                ))
        }
    }
}
