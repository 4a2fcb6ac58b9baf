import COpenSSL

/// A server's identities by what they are shown for.
struct IdentityGroups {
    private let identities: [TLSIdentity]
    /// For each name the first identity of each kind of key that has it, by index.
    let byName: [String: [Int]]

    init(_ identities: [TLSIdentity]) {
        self.identities = identities
        var byName: [String: [Int]] = [:]
        for (index, identity) in identities.enumerated() {
            for name in Set(identity.names) {
                let there = byName[name] ?? []
                if there.contains(where: { identities[$0].keyKind == identity.keyKind }) { continue }
                byName[name, default: []].append(index)
            }
        }
        self.byName = byName
    }

    subscript(_ indices: [Int]) -> [TLSIdentity] { indices.map { identities[$0] } }

    /// For clients that ask for no name.
    var oneOfEachKind: [TLSIdentity] { self[firstOfEachKind] }

    var firstOfEachKind: [Int] {
        var seen = Set<CInt>()
        return identities.indices.filter { seen.insert(identities[$0].keyKind).inserted }
    }

    /// The first identity, and those of other kinds for the very same names.
    var firstAndItsKin: [Int] {
        var seen = Set<CInt>()
        return identities.indices.filter {
            Set(identities[$0].names) == Set(identities[0].names) && seen.insert(identities[$0].keyKind).inserted
        }
    }
}

/// Which context answers a client, by the name it asks for: the exact name before a wildcard. Contexts that show the same
/// identities are one.
struct IdentityChoice {
    private var byName: [String: TLSContext] = [:]
    /// Names that the context itself answers.
    private var own: Set<String> = []
    private var other: TLSContext?

    /// Nothing to choose.
    init() {}

    init(
        _ groups: IdentityGroups, offersAll: Bool, make: ([TLSIdentity]) throws(TLSError) -> TLSContext
    ) throws(TLSError) {
        var made: [[Int]: TLSContext] = [:]
        func context(_ indices: [Int]) throws(TLSError) -> TLSContext? {
            if indices == groups.firstOfEachKind { return nil }
            if let context = made[indices] { return context }
            let context = try make(groups[indices])
            made[indices] = context
            return context
        }
        for (name, indices) in groups.byName {
            if let context = try context(indices) { byName[name] = context } else { own.insert(name) }
        }
        other = offersAll ? nil : try context(groups.firstAndItsKin)
    }

    var isEmpty: Bool { byName.isEmpty && other == nil }

    /// nil: the context that was asked.
    func context(named name: String) -> TLSContext? {
        if let exact = byName[name] { return exact }
        if own.contains(name) { return nil }
        if let dot = name.firstIndex(of: ".") {
            let wildcard = "*" + name[dot...]
            if let context = byName[wildcard] { return context }
            if own.contains(wildcard) { return nil }
        }
        return other
    }
}

extension TLSIdentity {
    /// The lower-case DNS names that its leaf is valid for; without any, its common name.
    var names: [String] {
        let dns = leaf.alternativeNames.dns
        let common = leaf.subject.commonName
        return dns.isEmpty && !common.isEmpty ? [common.lowercased()] : dns.map { $0.lowercased() }
    }

    /// OpenSSL has one place for each kind of key in a context.
    var keyKind: CInt { EVP_PKEY_get_base_id(key.handle.raw) }
}
