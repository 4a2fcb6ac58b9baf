/// What a parser leaves to whoever handles the message: for proxies, which answer in words of their own or pass on what is the
/// next one's to judge. Nothing of it makes framing ambiguous.
package struct HTTP1Leniency: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// An expectation other than `100-continue` is the next one's to understand.
    package static let expectations = HTTP1Leniency(rawValue: 1)
    /// HTTP/1.1 without Host has an empty authority.
    package static let missingHost = HTTP1Leniency(rawValue: 2)
    /// A target may have a fragment.
    package static let fragments = HTTP1Leniency(rawValue: 4)
    /// A length beside chunks goes unheeded (RFC 9112 §6.3) and is taken out of the head.
    package static let chunkedLength = HTTP1Leniency(rawValue: 8)
    /// `GET http://host/path` stays as it is: the whole of it stands where a path does.
    package static let absoluteForm = HTTP1Leniency(rawValue: 16)
}
