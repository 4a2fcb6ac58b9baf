/// The columns of each kind, as `kubectl get` has shown them for years; scripts cut them by position.
///
/// One extension a family of kinds; what a column reads is beside it.
enum KindColumns {
    /// By group and kind: a kind's versions share their columns.
    static func of(_ kind: GroupVersionKind) -> [TableColumn] {
        table["\(kind.group)/\(kind.kind)"] ?? [.name, .createdAt]
    }

    private static let table: [String: [TableColumn]] = workloads.merging(network) { $1 }.merging(cluster) { $1 }
        .merging(storage) { $1 }.merging(gateway) { $1 }.merging(meshPolicy) { $1 }
}
