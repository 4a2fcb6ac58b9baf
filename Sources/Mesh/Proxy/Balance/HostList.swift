/// A set's hosts in full, each put together from flat memory when it is asked for.
struct HostList: RandomAccessCollection, Sendable {
    private let owner: HostSet

    init(_ owner: HostSet) { self.owner = owner }

    var startIndex: Int { 0 }
    var endIndex: Int { owner.view.hostCount }

    subscript(position: Int) -> Host { owner[HostIndex(UInt32(position))] }
}
