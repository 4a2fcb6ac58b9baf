/// Sends back what comes.
final class EchoTerminal: ConnectionTerminal {
    override func received(_ bytes: UnsafeRawBufferPointer) {
        connection.send(bytes)
        if !connection.isWritable { connection.pauseReading() }
    }

    override func drained() { connection.resumeReading() }
}
