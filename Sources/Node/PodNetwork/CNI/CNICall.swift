import JSON

/// One call of the plugin as the runtime made it: its environment and what stood on standard input. Not judged yet.
public struct CNICall: Hashable, Sendable {
    public var command: String
    public var containerID: String
    public var namespacePath: String
    public var interface: String
    public var arguments: String
    /// The network configuration's text.
    public var configuration: [UInt8]

    /// The largest configuration that is read; the specification names no bound, real ones have a few KB.
    public static let maximumConfiguration = 1 << 20

    public init(
        command: String, containerID: String = "", namespacePath: String = "", interface: String = "",
        arguments: String = "", configuration: [UInt8] = []
    ) {
        self.command = command
        self.containerID = containerID
        self.namespacePath = namespacePath
        self.interface = interface
        self.arguments = arguments
        self.configuration = configuration
    }

    /// From the environment that the specification describes.
    public init(environment: (String) -> String?, configuration: [UInt8]) {
        self.init(
            command: environment("CNI_COMMAND") ?? "", containerID: environment("CNI_CONTAINERID") ?? "",
            namespacePath: environment("CNI_NETNS") ?? "", interface: environment("CNI_IFNAME") ?? "",
            arguments: environment("CNI_ARGS") ?? "", configuration: configuration)
    }
}

/// The plugin's answer: what goes to standard output, and the exit status.
public struct CNIReply: Hashable, Sendable {
    public var output: [UInt8]
    public var succeeded: Bool

    public init(output: [UInt8], succeeded: Bool) {
        self.output = output
        self.succeeded = succeeded
    }

    /// An error in the version that the call was made in (or the newest, where that could not be read).
    public init(_ error: CNIError, version: String = CNIVersion.newest.rawValue) {
        self.init(output: error.json(version: version).encoded(), succeeded: false)
    }
}
