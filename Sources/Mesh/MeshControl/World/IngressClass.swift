/// The Ingresses that are ours.
enum IngressClass {
    /// Ours are the classes that name this.
    static let controller = "weft.dev/ingress"
}
