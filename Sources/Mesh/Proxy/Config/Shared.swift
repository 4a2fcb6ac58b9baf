/// A value that many hold and nobody changes, once in memory: what most clusters and routes say is the same.
package final class Shared<Value: Sendable>: Sendable {
    package let value: Value

    package init(_ value: Value) { self.value = value }
}

/// Makes one object of equal values that come one after the other.
struct Sharing<Value: Sendable & Equatable> {
    private var last: Shared<Value>?

    mutating func share(_ value: Value) -> Shared<Value> {
        if let last, last.value == value { return last }
        let shared = Shared(value)
        last = shared
        return shared
    }
}
