extension ConfigNode {
    /// How one gets to a node from the root. Shared by all that is below; put together only when there is an error.
    final class Place {
        private let origin: Origin

        enum Origin {
            case root(ConfigText, ConfigPath)
            case field(String, of: Place)
            case element(Int, ofField: String, of: Place)
            case entry(String, ofField: String, of: Place)
        }

        init(_ origin: Origin) { self.origin = origin }

        var text: ConfigText {
            switch origin {
            case .root(let text, _): text
            case .field(_, let parent), .element(_, _, let parent), .entry(_, _, let parent): parent.text
            }
        }

        var path: ConfigPath {
            switch origin {
            case .root(_, let path): path
            case .field(let name, let parent): parent.path.field(name)
            case .element(let index, let name, let parent): parent.path.field(name).appending(.element(index))
            case .entry(let key, let name, let parent): parent.path.field(name).appending(.key(key))
            }
        }
    }
}
