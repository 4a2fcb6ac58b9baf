import TLS

/// A text with command operators, compiled once. Rendering appends bytes and allocates nothing for most operators.
package struct Template: Sendable {
    enum Piece: Sendable {
        case text([UInt8])
        /// At most so many bytes of an operator's value.
        case value(Operator, maximum: Int?)
    }

    let pieces: [Piece]
    /// What stands for a value that is not there.
    let absent: [UInt8]

    /// - Throws: What is wrong with an operator, in Envoy's words where it has some.
    init(_ format: String, absent: String = "-") throws(OperatorParser.Invalid) {
        pieces = try OperatorParser.parse(format)
        self.absent = Array(absent.utf8)
    }

    /// The empty text.
    static let nothing = Template()

    private init() { (pieces, absent) = ([], []) }

    /// Nothing in it depends on the stream.
    var literal: [UInt8]? {
        if pieces.isEmpty { return [] }
        if pieces.count == 1, case .text(let text) = pieces[0] { return text }
        return nil
    }

    /// Appends the text for a stream.
    func render(_ stream: HTTPStream, into output: inout GrowingBytes) {
        for piece in pieces {
            switch piece {
            case .text(let text): text.withUnsafeBytes { output.append($0) }
            case .value(let operation, let maximum):
                let start = output.count
                if !operation.render(stream, into: &output) {
                    absent.withUnsafeBytes { output.append($0) }
                } else if let maximum, output.count - start > maximum {
                    output.removeLast(output.count - start - maximum)
                }
            }
        }
    }
}
