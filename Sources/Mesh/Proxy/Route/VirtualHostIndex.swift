import Bytes
import HTTP

/// Which virtual host serves a host: the whole name, else the longest wildcard in front (`*.example.com`), else the longest
/// behind (`example.*`), else `*`. Case does not count.
struct VirtualHostIndex: Sendable {
    struct Invalid: Error { let description: String }

    /// By the hash of the name; who is there is compared, since hashes may be equal.
    private struct Names: Sendable {
        private var buckets: [UInt64: [(name: [UInt8], host: Int)]] = [:]

        /// False when the name was there.
        mutating func insert(_ name: [UInt8], _ host: Int) -> Bool {
            let hash = FNV1a.hash64(name)
            if buckets[hash]?.contains(where: { $0.name == name }) == true { return false }
            buckets[hash, default: []].append((name, host))
            return true
        }

        func find(_ name: some Collection<UInt8>) -> Int? {
            guard let bucket = buckets[FNV1a.hash64(name)] else { return nil }
            for entry in bucket where entry.name.elementsEqual(name) { return entry.host }
            return nil
        }
    }

    private var exact = Names()
    private var suffixes = Names()
    private var prefixes = Names()
    /// Lengths of suffixes and prefixes, the longest first.
    private var suffixLengths: [Int] = []
    private var prefixLengths: [Int] = []
    private var fallback: Int?
    private let isTrivial: Bool

    /// - Parameter domains: of each virtual host, in order.
    init(_ domains: [[String]], table: String) throws(Invalid) {
        isTrivial = domains.count == 1 && domains[0] == ["*"]
        for (host, names) in domains.enumerated() {
            for domain in names {
                let name = domain.utf8.map(lowercase)
                let star = UInt8(ascii: "*")
                let isNew: Bool
                if name == [star] {
                    guard fallback == nil else {
                        throw Invalid(description: "Only a single wildcard domain is permitted in route \(table)")
                    }
                    fallback = host
                    isNew = true
                } else if name.first == star {
                    isNew = suffixes.insert(Array(name.dropFirst()), host)
                    suffixLengths.append(name.count - 1)
                } else if name.last == star {
                    isNew = prefixes.insert(Array(name.dropLast()), host)
                    prefixLengths.append(name.count - 1)
                } else {
                    isNew = exact.insert(name, host)
                }
                guard isNew else {
                    throw Invalid(
                        description:
                            "Only unique values for domains are permitted. Duplicate entry of domain \(domain) "
                            + "in route \(table)")
                }
            }
        }
        suffixLengths = Set(suffixLengths).sorted(by: >)
        prefixLengths = Set(prefixLengths).sorted(by: >)
    }

    func find(_ host: UnsafeRawBufferPointer) -> Int? {
        if isTrivial { return fallback }
        return withUnsafeTemporaryAllocation(byteCount: host.count, alignment: 1) { lower in
            for index in host.indices { lower[index] = lowercase(host[index]) }
            return find(lowercased: UnsafeRawBufferPointer(lower)) ?? fallback
        }
    }

    private func find(lowercased host: UnsafeRawBufferPointer) -> Int? {
        if host.isEmpty { return nil }
        if let found = exact.find(host) { return found }
        // A wildcard stands for at least one letter.
        for length in suffixLengths where length < host.count {
            if let found = suffixes.find(host.suffix(length)) { return found }
        }
        for length in prefixLengths where length < host.count {
            if let found = prefixes.find(host.prefix(length)) { return found }
        }
        return nil
    }
}
