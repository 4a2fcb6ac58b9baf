import Bytes
import JSON

/// One column of a kind's table and how its cell is read from an object.
struct TableColumn: Sendable {
    /// What a cell is read from.
    struct Source {
        var object: JSONValue
        var now: Timestamp
        /// Of a pod: what three of its columns show, worked out once.
        var pod: PodStatus?

        func age(_ keys: String...) -> String {
            var value: JSONValue? = object
            for key in keys { value = value?[key] }
            return HumanDuration.since(value?.string, now: now)
        }
    }

    var name: String
    /// `string`, `integer`, `number`, `boolean` or `date` (OpenAPI).
    var type: String
    /// `name` marks the column that names the object.
    var format = ""
    /// 0 is always shown, 1 only with `-o wide`.
    var priority = 0
    var cell: @Sendable (Source) -> JSONValue

    /// The column's definition as clients see it.
    var json: JSONValue {
        .object([
            "name": .string(name), "type": .string(type), "format": .string(format),
            "description": .string(description), "priority": .int(Int64(priority)),
        ])
    }

    private var description: String {
        switch name {
        case "Name": "The object's name, unique among those of its kind in one namespace."
        case "Age": "Time since the object was created."
        case "Created At": "When the object was created."
        default: "\(name), derived from the object's spec and status."
        }
    }

    /// Shown only with `-o wide`.
    var wide: TableColumn {
        var column = self
        column.priority = 1
        return column
    }

    static func text(_ name: String, _ cell: @escaping @Sendable (Source) -> String) -> TableColumn {
        TableColumn(name: name, type: "string") { .string(cell($0)) }
    }

    /// The text at a place in the object, or `absent`.
    static func text(_ name: String, at keys: String..., absent: String = "") -> TableColumn {
        TableColumn(name: name, type: "string") { source in
            var value: JSONValue? = source.object
            for key in keys { value = value?[key] }
            let text = value?.plainText ?? ""
            return .string(text.isEmpty ? absent : text)
        }
    }

    /// The number at a place in the object, or 0.
    static func number(_ name: String, at keys: String...) -> TableColumn {
        TableColumn(name: name, type: "integer") { source in
            var value: JSONValue? = source.object
            for key in keys { value = value?[key] }
            return .int(value?.int ?? 0)
        }
    }

    static func number(_ name: String, _ cell: @escaping @Sendable (Source) -> Int) -> TableColumn {
        TableColumn(name: name, type: "integer") { .int(Int64(cell($0))) }
    }

    static func boolean(_ name: String, _ cell: @escaping @Sendable (Source) -> Bool) -> TableColumn {
        TableColumn(name: name, type: "boolean") { .bool(cell($0)) }
    }

    static let name = TableColumn(name: "Name", type: "string", format: "name") {
        .string($0.object.text("metadata", "name"))
    }

    static let age = text("Age") { $0.age("metadata", "creationTimestamp") }

    static let createdAt = TableColumn(name: "Created At", type: "date") {
        .string($0.object.text("metadata", "creationTimestamp"))
    }

    /// The three wide columns of everything that has a pod template.
    static let containers = text("Containers") {
        $0.object.list("spec", "template", "spec", "containers").map { $0.text("name") }.joined(separator: ",")
    }.wide
    static let images = text("Images") {
        $0.object.list("spec", "template", "spec", "containers").map { $0.text("image") }.joined(separator: ",")
    }.wide
    static let selector = text("Selector") { labelSelectorText($0.object[path: "spec", "selector"]) }.wide
}

let none = "<none>"

/// A LabelSelector object as text, `<none>` when it chooses everything, `<error>` when it is malformed.
func labelSelectorText(_ value: JSONValue?) -> String {
    guard value != nil else { return none }
    guard let selector = LabelSelector(value) else { return "<error>" }
    return selector.isEmpty ? none : selector.description
}

/// A map of labels as text, `<none>` when it is empty.
func labelsText(_ value: JSONValue?) -> String {
    let text = LabelSelector(matchLabels: value).description
    return text.isEmpty ? none : text
}

/// The first three of `items`, and how many more there are; `<none>` of none.
func firstFew(_ items: [String], absent: String = none) -> String {
    if items.isEmpty { return absent }
    let shown = items.prefix(3).joined(separator: ",")
    return items.count > 3 ? "\(shown) + \(items.count - 3) more..." : shown
}
