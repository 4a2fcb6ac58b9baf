import Glibc
import HTTP

/// A header name as configuration asks for it: the small integer where there is one, and the text in lower case.
///
/// Made once, when configuration is read; comparing one with a field of a message allocates nothing.
package struct HeaderKey: Hashable, Sendable, CustomStringConvertible {
    package let name: HeaderName
    package let text: [UInt8]

    package init(_ text: String) {
        self.text = Array(text.lowercased().utf8)
        name = self.text.withUnsafeBytes { HeaderName($0) }
    }

    static let envoyOriginalPath = HeaderKey("x-envoy-original-path")

    package var description: String { String(decoding: text, as: UTF8.self) }
    /// One of `:method`, `:path`, `:authority`, `:scheme`, `:status`.
    package var isPseudo: Bool { text.first == UInt8(ascii: ":") }

    package var isStatus: Bool { isPseudo && text.elementsEqual(":status".utf8) }

    /// `other` is in lower case.
    @inline(__always)
    func matches(_ otherName: HeaderName, _ other: UnsafeRawBufferPointer) -> Bool {
        guard otherName == name else { return false }
        guard name == .other else { return true }
        return other.count == text.count
            && text.withUnsafeBytes { memcmp($0.baseAddress!, other.baseAddress!, other.count) == 0 }
    }
}
