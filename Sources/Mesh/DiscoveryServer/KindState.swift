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
    /// What it asks for that nobody has published.
    var unknown: Set<String> = []
    /// What has to be sent, or told to be gone.
    var pending = NameSet()
    /// Delta: names to be told as gone that have no number.
    var gone: Set<String> = []
    /// State of the world: all of it has to be sent, because something in it changed.
    var owesState = false
    /// Of the last response; 0 before the first.
    var nonce: UInt64 = 0
    /// The last response was neither accepted nor refused yet. Until then no other follows, so what a slow proxy misses
    /// is sent to it once, as it is then.
    var awaitsAnswer = false
    /// Why the last response was refused, wholly or in part; nil after it was accepted.
    var refusal: String?
    /// Of the last response.
    var sentVersion = ""
    var acceptedVersion = ""

    func wants(_ id: Int) -> Bool { isWildcard || names.contains(id) }

    var isSettled: Bool { pending.isEmpty && gone.isEmpty && !owesState && !awaitsAnswer }
}
