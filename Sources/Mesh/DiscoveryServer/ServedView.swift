/// What a stream sees: scopes in the order in which a name is looked for in them, the first that has it winning.
public struct ServedView: ExpressibleByArrayLiteral {
    /// Those of which "all" means all.
    public var scopes: [ServedScope]
    /// Of these the stream gets what it asks for by name, of every kind: a proxy that follows what it calls need not hold a mesh.
    /// Looked at after the others.
    public var onDemand: [ServedScope]

    public init(_ scopes: [ServedScope], onDemand: [ServedScope] = []) {
        self.scopes = scopes
        self.onDemand = onDemand
    }

    public init(arrayLiteral elements: ServedScope...) { self.init(elements) }
}
