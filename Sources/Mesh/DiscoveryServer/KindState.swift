import XDS

/// What one stream wants of one kind, and how far it has got. An object, because a change touches one bit of its sets in each of
/// thousands of streams.
final class KindState {
    /// It gets all that its scopes have.
    var isWildcard = false
    /// It has named something at some time, so that naming nothing no longer means all (xDS protocol, "wildcard").
    var hasNamed = false
    /// What it asks for by name.
    var names = NameSet()
    /// State of the world: `ReceivedRequest.namesHash` of the request that `names` and `unknown` are from.
    var namesHash: Int?
    /// What it asks for that nobody has published.
    var unknown: Set<String> = []
    /// What has to be sent, or told to be gone; of a whole state that is owed, what in it changed.
    var pending = NameSet()
    /// Delta: names to be told as gone that have no number.
    var gone: Set<String> = []
    /// State of the world: all of it has to be sent, because something in it changed. Delta: nothing of it is there, and that has to be said.
    var owesState = false
    /// Of the last response; 0 before the first.
    var nonce: UInt64 = 0
    /// The last response was neither accepted nor refused yet. Until then no other follows, so what a slow proxy misses
    /// is sent to it once, as it is then.
    var awaitsAnswer = false
    /// Of the response that was not answered yet: what it was about.
    var sent = NameSet()
    /// Why the last version of a resource was refused, until another is accepted.
    private(set) var refused: [Int: String] = [:]
    /// Why a response was refused that was about nothing by name.
    private var otherRefusal: String?
    /// Of the last response.
    var sentVersion = ""
    var acceptedVersion = ""

    /// Everything that is refused, in the client's words; nil where nothing is.
    var refusal: String? {
        var seen: Set<String> = []
        let reasons = refused.sorted { $0.key < $1.key }.map(\.value).filter { seen.insert($0).inserted }
        return reasons.isEmpty ? otherRefusal : reasons.joined(separator: "; ")
    }

    /// The answer to the last response: nil accepts it. Clients say in words what they refuse, and not all of them name it; then it is
    /// everything that was sent.
    ///
    /// - Parameter isWhole: The response was everything that there is.
    /// - Returns: Whether other things are refused than before.
    func take(answer: String?, _ table: NameTable, isWhole: Bool) -> Bool {
        let (before, other) = (refused, otherRefusal)
        if isWhole { refused = [:] }
        for id in sent { refused[id] = nil }
        otherRefusal = nil
        if let answer {
            let named = sent.filter { answer.contains(table[$0]) }
            for id in named.isEmpty ? Array(sent) : named { refused[id] = answer }
            if sent.isEmpty { otherRefusal = answer }
        }
        sent = NameSet()
        return refused != before || otherRefusal != other
    }

    /// It was not sent yet as it is, or not answered.
    func isOnItsWay(_ id: Int) -> Bool { pending.contains(id) || sent.contains(id) }

    func wants(_ id: Int) -> Bool { isWildcard || names.contains(id) }

    var isSettled: Bool { pending.isEmpty && gone.isEmpty && !owesState && !awaitsAnswer }
}
