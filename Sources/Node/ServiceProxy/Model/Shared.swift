/// A value that several remember and that is in memory once: an object as the informer's store and the model have it.
final class Shared<Value: Sendable>: Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
}
