import Bytes

/// Where one worker is in a group's rotation.
struct Rotation {
    /// The group's contents that `schedule` was made for.
    private var contents: UInt64 = 0
    /// The plain rotation's next member.
    private var cursor: UInt64
    private var schedule: Schedule?
    /// Whose turns the schedule has, by its member numbers.
    private var names: [HostID] = []

    init(cursor: UInt64) { self.cursor = cursor }

    /// The next of `count` members that have equal weights.
    @inline(__always)
    mutating func step(_ count: UInt32) -> Int {
        let member = Int(cursor % UInt64(count))
        cursor &+= 1
        return member
    }

    /// Whether `advance` may be called for the group as it is.
    @inline(__always)
    func isScheduled(for group: HostGroup) -> Bool { schedule != nil && contents == group.contents }

    /// Makes the schedule for a group that changed. Who was in it before keeps its turn; allocates.
    mutating func reschedule(
        _ group: HostGroup, names: [HostID], weight: (Int) -> Double, random: inout some RandomSource
    ) {
        var due: [HostID: Double] = [:]
        for turn in schedule.map({ Array($0.deadlines) }) ?? [] where turn.member < self.names.count {
            due[self.names[turn.member]] = turn.deadline
        }
        schedule = Schedule(
            Int(group.count), weight: weight, deadline: { names.isEmpty ? nil : due[names[$0]] }, random: &random)
        self.names = names
        contents = group.contents
    }

    /// Whose turn it is; nil when nobody has a weight.
    @inline(__always)
    var next: Int? { schedule.flatMap { $0.isEmpty ? nil : $0.next } }

    /// Takes the turn of `next`.
    @inline(__always)
    mutating func advance(weight: Double) { schedule?.advance(weight: weight) }
}
