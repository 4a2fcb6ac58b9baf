public import JSON

/// Kubernetes' own merge: objects merge member by member, lists merge by key where the schema says so, null removes, and
/// members of the patch that begin with `$` direct the rest.
///
/// - `$patch: replace | delete` in an object, or as an element of a list, replaces or removes instead of merging.
/// - `$retainKeys: [...]` names the members of an object that stay.
/// - `$setElementOrder/<list>` orders the elements that it names; others keep their place between them.
/// - `$deleteFromPrimitiveList/<list>` takes scalars out.
public enum StrategicMergePatch {
    /// Members that the schema does not know merge as plain JSON; `Conformance` removes them afterwards.
    public static func apply(
        _ patch: JSONValue, to target: JSONValue, of kind: GroupVersionKind, schema: Schema = .shared
    ) throws(PatchError) -> JSONValue {
        guard let type = schema.typeIndex(of: kind) else {
            throw .malformed("\(kind) does not support strategic merge patch")
        }
        guard case .object(let changes) = patch, case .object(let object) = target else {
            throw .malformed("a strategic merge patch is an object")
        }
        return .object(try StrategicMerge(schema: schema).merge(object, changes, type))
    }
}

private struct StrategicMerge {
    let schema: Schema

    private enum Directive {
        static let patch = "$patch"
        static let retainKeys = "$retainKeys"
        static let order = "$setElementOrder/"
        static let deletion = "$deleteFromPrimitiveList/"
    }

    // MARK: Objects

    /// - Parameter type: the schema's type of the object; nil where the schema ends.
    func merge(_ target: JSONObject, _ patch: JSONObject, _ type: Int?) throws(PatchError) -> JSONObject {
        var target = target
        var patch = patch
        if let directive = patch.removeValue(forKey: Directive.patch) {
            switch directive.string {
            case "replace": return cleaned(patch)
            case "delete": return JSONObject()
            case "merge": break
            default: throw .malformed("unknown patch type found: \(directive)")
            }
        }
        if let retained = patch.removeValue(forKey: Directive.retainKeys) { try retain(retained, &target, patch) }
        try order(&target, &patch, type)
        for (member, change) in patch {
            if member.hasPrefix(Directive.deletion) {
                try delete(change, from: String(member.dropFirst(Directive.deletion.count)), of: &target)
            } else if change.isNull {
                target[member] = nil
            } else {
                target[member] = try merged(target[member], change, field(member, type))
            }
        }
        return target
    }

    private func merged(_ old: JSONValue?, _ change: JSONValue, _ field: SchemaField?) throws(PatchError) -> JSONValue {
        switch (old, change) {
        case (.object(let object)?, .object(let changes)):
            if let field, field.patchStrategy.contains(.replace) { return .object(cleaned(changes)) }
            // Entries of a map have its value type; that matters only for maps of messages.
            if let field, field.code.container == .map { return .object(try mergeMap(object, changes, field)) }
            return .object(try merge(object, changes, field.flatMap(messageType)))
        case (.array(let elements)?, .array(let changes)):
            guard let field, field.patchStrategy.contains(.merge) else { return .array(cleaned(changes)) }
            return .array(try merge(elements, changes, field))
        default: return cleaned(change)
        }
    }

    private func mergeMap(_ target: JSONObject, _ patch: JSONObject, _ field: SchemaField) throws(PatchError)
        -> JSONObject
    {
        guard field.code.shape == .message else { return try merge(target, patch, nil) }
        var target = target
        for (key, change) in patch where !key.hasPrefix("$") {
            if change.isNull {
                target[key] = nil
            } else if case .object(let old)? = target[key], case .object(let changes) = change {
                target[key] = .object(try merge(old, changes, Int(field.code.message)))
            } else {
                target[key] = cleaned(change)
            }
        }
        return target
    }

    private func retain(_ list: JSONValue, _ target: inout JSONObject, _ patch: JSONObject) throws(PatchError) {
        guard let names = list.array?.compactMap(\.string) else {
            throw .malformed("\(Directive.retainKeys) must be a list of member names")
        }
        let retained = Set(names)
        for (member, change) in patch where !member.hasPrefix("$") && !change.isNull {
            guard retained.contains(member) else {
                throw .malformed("the patch sets \"\(member)\", which its own \(Directive.retainKeys) does not name")
            }
        }
        target.removeAll { !retained.contains($0.key) }
    }

    private func delete(_ list: JSONValue, from member: String, of target: inout JSONObject) throws(PatchError) {
        guard let unwanted = list.array else { throw .malformed("\(Directive.deletion)\(member) must be a list") }
        guard case .array(let elements)? = target[member] else { return }
        let gone = Set(unwanted)
        target[member] = .array(elements.filter { !gone.contains($0) })
    }

    // MARK: Lists

    /// Elements of the patch in the order of the patch; the others stay between them where they were.
    private func merge(_ old: [JSONValue], _ patch: [JSONValue], _ field: SchemaField) throws(PatchError) -> [JSONValue]
    {
        if field.code.shape != .message {
            var seen = Set<JSONValue>()
            let all = (old + patch).filter { seen.insert($0).inserted }
            return arrange(all, by: patch, live: old, key: nil)
        }
        guard let key = field.mergeKey else { throw .malformed("the list \"\(field.name)\" has no merge key") }
        var elements = old
        var changes: [JSONObject] = []
        var replaces = false
        for change in patch {
            guard case .object(let object) = change else {
                throw .malformed("an element of \"\(field.name)\" is no object")
            }
            switch object[Directive.patch]?.string {
            case nil: changes.append(object)
            case "replace": replaces = true
            case "delete":
                guard let value = object[key] else { throw noKey(field, key) }
                elements.removeAll { $0[key] == value }
            case "merge": throw .malformed("merging lists cannot yet be specified in the patch")
            case let directive?: throw .malformed("unknown patch type found: \(directive)")
            }
        }
        if replaces { return cleaned(changes.map { .object($0) }) }
        for change in changes {
            guard let value = change[key] else { throw noKey(field, key) }
            if let index = elements.firstIndex(where: { $0[key] == value }), case .object(let element) = elements[index]
            {
                elements[index] = .object(try merge(element, change, Int(field.code.message)))
            } else {
                elements.append(.object(cleaned(change)))
            }
        }
        return arrange(elements, by: changes.map { .object($0) }, live: old, key: key)
    }

    private func noKey(_ field: SchemaField, _ key: String) -> PatchError {
        .malformed("map: an element of \"\(field.name)\" does not contain declared merge key: \(key)")
    }

    /// Carries out the order directives of an object, together with the changes to the lists that they order.
    private func order(_ target: inout JSONObject, _ patch: inout JSONObject, _ type: Int?) throws(PatchError) {
        for (directive, list) in patch where directive.hasPrefix(Directive.order) {
            let member = String(directive.dropFirst(Directive.order.count))
            patch[directive] = nil
            guard case .array(let wanted) = list else { throw .malformed("\(directive) must be a list") }
            let change = patch.removeValue(forKey: member)
            if change?.isNull == true {
                target[member] = nil
                continue
            }
            guard target[member] != nil || change != nil else { continue }
            let field = field(member, type)
            let live = target[member]?.array ?? []
            if let change {
                try check(change, against: wanted, field, directive)
                target[member] = try merged(target[member], change, field)
            }
            guard case .array(let elements)? = target[member] else { continue }
            let key = field?.code.shape == .message ? field?.mergeKey : nil
            target[member] = .array(arrange(elements, by: wanted, live: live, key: key))
        }
    }

    /// The list must name what the patch sets, or the outcome would depend on chance.
    private func check(
        _ change: JSONValue, against wanted: [JSONValue], _ field: SchemaField?, _ directive: String
    ) throws(PatchError) {
        guard let elements = change.array, let field else { return }
        let key = field.code.shape == .message ? field.mergeKey : nil
        let named = Set(wanted.map { identity($0, key) })
        for element in elements where element[Directive.patch] == nil && !named.contains(identity(element, key)) {
            throw .malformed("\(directive) does not name an element that the patch sets: \(element)")
        }
    }

    private func identity(_ element: JSONValue, _ key: String?) -> JSONValue {
        guard let key else { return element }
        return element[key] ?? .null
    }

    /// Named elements in the wanted order; each other one goes before the first named one that it preceded when live.
    private func arrange(_ elements: [JSONValue], by wanted: [JSONValue], live: [JSONValue], key: String?)
        -> [JSONValue]
    {
        func positions(_ list: [JSONValue]) -> [JSONValue: Int] {
            var positions: [JSONValue: Int] = [:]
            for (index, element) in list.enumerated() {
                let identity = identity(element, key)
                if positions[identity] == nil { positions[identity] = index }
            }
            return positions
        }
        let rank = positions(wanted)
        let place = positions(live)
        func sorted(_ list: [JSONValue], by order: [JSONValue: Int]) -> [JSONValue] {
            list.enumerated().sorted { a, b in
                let x = order[identity(a.element, key)] ?? .max
                let y = order[identity(b.element, key)] ?? .max
                return x == y ? a.offset < b.offset : x < y
            }.map(\.element)
        }
        let named = sorted(elements.filter { rank[identity($0, key)] != nil }, by: rank)
        let others = sorted(elements.filter { rank[identity($0, key)] == nil }, by: place)
        var result: [JSONValue] = []
        result.reserveCapacity(elements.count)
        var (i, j) = (0, 0)
        while i < others.count, j < named.count {
            if let x = place[identity(others[i], key)], let y = place[identity(named[j], key)], x < y {
                result.append(others[i])
                i += 1
            } else {
                result.append(named[j])
                j += 1
            }
        }
        return result + others[i...] + named[j...]
    }

    // MARK: Schema and directives

    private func field(_ name: String, _ type: Int?) -> SchemaField? {
        guard let type else { return nil }
        return schema.field(name, of: type)
    }

    private func messageType(_ field: SchemaField) -> Int? {
        field.code.shape == .message ? Int(field.code.message) : nil
    }

    /// A value of the patch as it stands where there was nothing to merge it with: without directives and nulls.
    private func cleaned(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let object): .object(cleaned(object))
        case .array(let elements): .array(cleaned(elements))
        default: value
        }
    }

    private func cleaned(_ object: JSONObject) -> JSONObject {
        var members: [JSONObject.Member] = []
        members.reserveCapacity(object.count)
        for (key, value) in object where !value.isNull && !isDirective(key) {
            members.append(JSONObject.Member(key: key, value: cleaned(value)))
        }
        return JSONObject(ascending: members)
    }

    private func cleaned(_ elements: [JSONValue]) -> [JSONValue] {
        elements.filter { $0[Directive.patch] == nil || $0[Directive.patch]?.string == "merge" }.map { cleaned($0) }
    }

    private func isDirective(_ key: String) -> Bool {
        key == Directive.patch || key == Directive.retainKeys || key.hasPrefix(Directive.order)
            || key.hasPrefix(Directive.deletion)
    }
}
