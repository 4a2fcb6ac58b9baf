/// The numbers of a list's endpoints by which clients that stick to them are remembered. A number means one endpoint for as
/// long as that is there, and comes into use again as late as possible, so that a client of an endpoint that is gone is
/// not taken for one of its successor.
struct StickyMembers: Sendable {
    /// Below `Dispatch.listShift` bits; 0 is nobody. Endpoints beyond it are not used by lists that clients stick to.
    static let limit = Int(~Dispatch.listMask)

    private(set) var numbers: [Endpoint: UInt32] = [:]
    private var next: UInt32 = 1

    init(_ numbers: [Endpoint: UInt32] = [:]) {
        self.numbers = numbers
        next = (numbers.values.max() ?? 0) + 1
    }

    /// Makes the members these, at most `limit`; who left, with their numbers.
    mutating func set(_ endpoints: some Collection<Endpoint>) -> [UInt32] {
        let wanted = Set(endpoints)
        var gone: [UInt32] = []
        for (endpoint, number) in numbers where !wanted.contains(endpoint) {
            gone.append(number)
            numbers[endpoint] = nil
        }
        var used = Set(numbers.values).union(gone)
        for endpoint in endpoints where numbers[endpoint] == nil {
            if used.count >= Self.limit { used = Set(numbers.values) }
            while next == 0 || next > UInt32(Self.limit) || used.contains(next) {
                next = next >= UInt32(Self.limit) ? 1 : next + 1
            }
            numbers[endpoint] = next
            used.insert(next)
            next += 1
        }
        return gone.filter { number in !numbers.values.contains(number) }
    }
}
