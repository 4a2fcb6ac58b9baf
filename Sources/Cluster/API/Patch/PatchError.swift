/// Why a patch cannot be applied.
public enum PatchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The patch itself makes no sense: the request is bad (400).
    case malformed(String)
    /// It makes sense but not for this object, as a failed `test`: the request cannot be processed (422).
    case inapplicable(String)
    /// It is larger than what one request may ask for (413).
    case tooLarge(String)

    public var description: String {
        switch self {
        case .malformed(let text), .inapplicable(let text), .tooLarge(let text): text
        }
    }
}
