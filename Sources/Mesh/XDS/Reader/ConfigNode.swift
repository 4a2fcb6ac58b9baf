/// One message of a configuration as those read it who build something from it.
///
/// Each access marks its field as read, by name; `finish()` then refuses whatever is set and was read by nobody. So a
/// builder reads like a description of its resource, and what the program does not support cannot be passed over:
///
///     let cluster = try ConfigNode(message, from: text)
///     name = cluster.string("name")
///     connectTimeout = cluster.duration("connect_timeout", default: .seconds(5))
///     kind = try cluster.enumeration("type", as: DiscoveryType.self)
///     limits = try cluster.message("circuit_breakers", CircuitBreakers.init)
///     try cluster.finish()
///
/// Accessors answer zero for what is absent. Wrappers and other fields with presence have a variant that answers nil
/// (`...IfSet`) and one with a default. Names are those of the API's `.proto` files; a name that its message does not have
/// is a defect of the program and traps in debug builds. Values are of the right type, and satisfy the API's rules, before
/// a node exists. For one thread at a time.
public final class ConfigNode {
    public let message: Message
    let place: Place
    private var wasRead: UInt128 = 0
    private var children: [ConfigNode] = []

    /// The root of a configuration. Checks the API's rules of all of the message, but for what is packed within it:
    /// that is checked when it is read.
    public convenience init(_ message: Message, from text: ConfigText, at path: ConfigPath = ConfigPath())
        throws(ConfigError)
    {
        do throws(ConfigError) { try MessageValidator.validate(message, at: path) } catch { throw text.locating(error) }
        self.init(message, Place(.root(text, path)))
    }

    /// The root of what was checked already.
    convenience init(checked message: Message, from text: ConfigText, at path: ConfigPath) {
        self.init(message, Place(.root(text, path)))
    }

    init(_ message: Message, _ place: Place) {
        self.message = message
        self.place = place
    }

    /// The full name of the message: what one switches over after `typed`.
    public var typeName: String { message.type.name }

    public var path: ConfigPath { place.path }

    var text: ConfigText { place.text }

    // MARK: Errors

    /// A refusal of this message, or of one of its fields.
    public func error(_ reason: String) -> ConfigError { text.locating(ConfigError(path, reason)) }

    public func error(_ field: String, _ reason: String) -> ConfigError {
        text.locating(ConfigError(path.field(field), reason))
    }

    /// The refusal of a field that the program does not support.
    public func unsupported(_ field: String) -> ConfigError {
        text.locating(ConfigError(path, "unsupported field \"\(field)\"", member: field))
    }

    /// Refuses everything that is set, here and below, and was not read.
    public func finish() throws(ConfigError) {
        for entry in message.entries where wasRead & 1 << entry.position == 0 {
            throw unsupported(message.type.fields[entry.position].name)
        }
        for child in children { try child.finish() }
    }

    /// Says that fields were seen and mean nothing here, such as hints for what works without them.
    public func ignore(_ names: String...) {
        for name in names { _ = value(name) }
    }

    // MARK: For the accessors

    /// A field's value, marked as read.
    func value(_ name: String) -> FieldValue? { field(name).flatMap { message[$0] } }

    /// A field's position, marked as read.
    func field(_ name: String) -> Int? {
        guard let position = message.type.position(named: name) else {
            assertionFailure("\(typeName) has no field \(name)")
            return nil
        }
        assert(message.type.fields[position].name == name, "\(name) is not the API's name")
        wasRead |= 1 << position
        return position
    }

    /// A node below this one, which `finish()` will visit.
    func child(_ message: Message, _ place: Place) -> ConfigNode {
        let node = ConfigNode(message, place)
        children.append(node)
        return node
    }
}
