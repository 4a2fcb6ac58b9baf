/// Says one thing and closes.
final class DirectResponseTerminal: ConnectionTerminal {
    private let bytes: [UInt8]

    init(_ connection: ProxyConnection, _ bytes: [UInt8]) {
        self.bytes = bytes
        super.init(connection)
    }

    override func opened() {
        bytes.withUnsafeBytes { connection.send($0) }
        connection.closeAfterWrite()
    }
}
