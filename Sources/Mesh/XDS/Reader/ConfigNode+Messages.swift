import JSON

// Messages within messages.
extension ConfigNode {
    /// A message; nil when absent.
    public func message(_ name: String) -> ConfigNode? {
        guard let value = value(name) else { return nil }
        guard case .message(let message) = value else { return mismatch(name) }
        return child(message, Place(.field(name, of: place)))
    }

    /// What is built from a message; nil when absent.
    public func message<T>(_ name: String, _ build: (ConfigNode) throws(ConfigError) -> T) throws(ConfigError) -> T? {
        guard let node = message(name) else { return nil }
        return try build(node)
    }

    /// The messages of a list, in order.
    public func messages(_ name: String) -> [ConfigNode] {
        elements(name).enumerated().compactMap { index, element in
            guard case .message(let message) = element else { return mismatch(name) }
            return child(message, Place(.element(index, ofField: name, of: place)))
        }
    }

    public func messages<T>(_ name: String, _ build: (ConfigNode) throws(ConfigError) -> T) throws(ConfigError) -> [T] {
        var built: [T] = []
        for node in messages(name) { built.append(try build(node)) }
        return built
    }

    /// The messages of a map, in the order of the keys.
    public func messageMap(_ name: String) -> [(key: String, value: ConfigNode)] {
        entries(name).compactMap { entry in
            guard case (.string(let key), .message(let message)) = (entry.key, entry.value) else {
                return mismatch(name)
            }
            return (key, child(message, Place(.entry(key, ofField: name, of: place))))
        }
    }

    /// A message for somebody else to read, with all that is in it; nil when absent. Reads all of it.
    public func subtree(_ name: String) -> Message? {
        guard let value = value(name) else { return nil }
        guard case .message(let message) = value else { return mismatch(name) }
        return message
    }

    /// The messages of a list for somebody else to read. Reads all of them.
    public func subtrees(_ name: String) -> [Message] {
        elements(name).compactMap { if case .message(let message) = $0 { message } else { mismatch(name) } }
    }

    /// Whether a field of a message here is set, for who does not read that message. Marks nothing as read.
    public func has(_ name: String, in parent: String) -> Bool {
        guard case .message(let message)? = message.value(parent) else { return false }
        return message.value(name) != nil
    }

    // MARK: Messages that say their type

    /// The message in an `Any`; nil when absent, or when it is there and names no type. A `TypedStruct` in it is read as the message that it names. Switch over
    /// the node's `typeName`.
    /// - Throws: When the type is not known here, when the bytes are no such message, or when a rule of the API is broken.
    public func typed(_ name: String) throws(ConfigError) -> ConfigNode? {
        guard let value = value(name) else { return nil }
        guard case .any(let packed) = value else { return mismatch(name) }
        // Control planes write an empty one where only its presence counts, as in a route's `FilterConfig`.
        if packed.typeURL.isEmpty, packed.isEmpty { return nil }
        return try unpack(packed, Place(.field(name, of: place)))
    }

    /// The messages of a list of `Any`.
    public func typedList(_ name: String) throws(ConfigError) -> [ConfigNode] {
        var nodes: [ConfigNode] = []
        for (index, element) in elements(name).enumerated() {
            guard case .any(let packed) = element else { return mismatch(name) ?? [] }
            nodes.append(try unpack(packed, Place(.element(index, ofField: name, of: place))))
        }
        return nodes
    }

    /// The messages of a map to `Any`, in the order of the keys.
    public func typedMap(_ name: String) throws(ConfigError) -> [(key: String, value: ConfigNode)] {
        var nodes: [(String, ConfigNode)] = []
        for entry in entries(name) {
            guard case (.string(let key), .any(let packed)) = (entry.key, entry.value) else {
                return mismatch(name) ?? []
            }
            nodes.append((key, try unpack(packed, Place(.entry(key, ofField: name, of: place)))))
        }
        return nodes
    }

    /// The name of the type in an `Any` without reading it: for extensions that may be unknown. Nil when absent.
    public func typeNameOfAny(_ name: String) -> String? {
        guard case .any(let packed)? = message.value(name) else { return nil }
        return PackedMessage.typeName(ofURL: packed.typeURL) ?? packed.typeURL
    }

    /// Whether an `Any`, or the `TypedStruct` in it, holds a type that is not known: for what may be left out then. False when
    /// absent, and when what it holds cannot be read.
    public func holdsUnknownType(_ name: String) -> Bool {
        let schema = message.type.schema
        func isKnown(_ url: String) -> Bool { PackedMessage.typeName(ofURL: url).flatMap(schema.message) != nil }
        guard case .any(let packed)? = message.value(name), !packed.typeURL.isEmpty else { return false }
        guard isKnown(packed.typeURL) else { return true }
        let held = try? packed.message(schema: schema, path: place.path)
        return held?.typedStruct.map { !isKnown($0.url) } ?? false
    }

    private func unpack(_ packed: PackedMessage, _ place: Place) throws(ConfigError) -> ConfigNode {
        let schema = message.type.schema
        do throws(ConfigError) {
            var message = try packed.message(schema: schema, path: place.path)
            if let (url, json) = message.typedStruct {
                guard let name = PackedMessage.typeName(ofURL: url), let type = schema.message(name) else {
                    throw ConfigError(place.path, "unknown type \"\(url)\"")
                }
                message = try Message(json: json, type: type, at: place.path)
            }
            try MessageValidator.validate(message, at: place.path)
            return child(message, place)
        } catch { throw text.locating(error) }
    }
}

extension Message {
    /// The type and the value of a `TypedStruct`, of which there are two that are the same.
    fileprivate var typedStruct: (url: String, value: JSONValue)? {
        guard type.name == "udpa.type.v1.TypedStruct" || type.name == "xds.type.v3.TypedStruct" else { return nil }
        guard case .string(let url)? = value("type_url") else { return nil }
        if case .json(let json)? = value("value") { return (url, json) }
        return (url, .object([:]))
    }
}
