import HTTP
import XDS

/// How a route changes the path.
enum PathRewrite: Sendable {
    /// In place of what the route matched.
    case prefix([UInt8])
    /// On the path without its query.
    case regex(RegexSubstitution)
    case template(PathTemplate.Rewrite)

    /// Appends the new path with its query to the block's text; nil where a template does not fit.
    func append(to block: HeaderBlock, _ match: RouteMatch) -> TextRange? {
        let path = block.path
        let bare = block.pathWithoutQuery
        let query = UnsafeRawBufferPointer(rebasing: path[bare.count...])
        switch self {
        case .prefix(let prefix):
            let rest = UnsafeRawBufferPointer(rebasing: path[match.matchedLength(bare)...])
            return prefix.withUnsafeBytes { block.append($0, rest) }
        case .regex(let substitution):
            var range: TextRange?
            substitution.regex.replacing(bare, with: substitution.replacement) { range = block.append($0, query) }
            return range ?? block.append(path)
        case .template(let rewrite):
            guard case .template(let template) = match.path else { return nil }
            let text = rewrite.path(bare, template)
            return text?.withUnsafeBytes { block.append($0, query) }
        }
    }
}

extension HeaderBlock {
    /// Two texts as one.
    func append(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> TextRange {
        withUnsafeTemporaryAllocation(byteCount: first.count + second.count, alignment: 1) { joined in
            joined.copyMemory(from: first)
            UnsafeMutableRawBufferPointer(rebasing: joined[first.count...]).copyMemory(from: second)
            return append(UnsafeRawBufferPointer(joined))
        }
    }
}
