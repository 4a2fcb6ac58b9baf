import Bytes
import DNSMessage

/// What one name of a zone has. Immutable; shared by every snapshot that the name did not change in.
final class ZoneNode: Sendable {
    /// Encoded answers by type; few types a name.
    let records: [(type: RecordType, answers: EncodedRecords, additionals: EncodedRecords)]
    /// Where the name leads instead: an ExternalName.
    let alias: DNSName?

    init(_ content: Content) {
        alias = content.alias
        records = content.records.map { ($0.key, $0.value.answers, $0.value.additionals) }
    }

    func find(_ type: RecordType) -> (answers: EncodedRecords, additionals: EncodedRecords)? {
        for record in records where record.type == type { return (record.answers, record.additionals) }
        return nil
    }

    /// What one owner (a Service, a Namespace) brings to a name; several may share one.
    struct Content: Sendable, Equatable {
        struct Set: Sendable, Equatable {
            var answers = EncodedRecords.none
            var additionals = EncodedRecords.none
        }
        var records: [RecordType: Set] = [:]
        var alias: DNSName?

        /// A name that exists and has nothing.
        static let empty = Content()

        mutating func add(_ address: IPAddress, ttl: UInt32) {
            records[address.family == .v4 ? .a : .aaaa, default: Set()].answers.append(address, ttl: ttl)
        }

        mutating func merge(_ other: Content) {
            for (type, set) in other.records {
                records[type, default: Set()].answers.append(set.answers)
                records[type, default: Set()].additionals.append(set.additionals)
            }
            alias = alias ?? other.alias
        }
    }
}
