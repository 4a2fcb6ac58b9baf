import Netlink

/// The tables of kube-proxy's nftables mode. While they stand beside ours, both translate the same packets.
public enum KubeProxyTables {
    static let names = [NFTableName(.ip, "kube-proxy"), NFTableName(.ip6, "kube-proxy")]

    /// Those that are there.
    public static func present(namespace: CInt? = nil) throws -> [String] {
        let connection = try NFTablesConnection(namespace: namespace)
        return try names.filter { try connection.table($0) != nil }.map { "\($0)" }
    }

    /// Takes those away that are there; their names.
    @discardableResult
    public static func remove(namespace: CInt? = nil) throws -> [String] {
        try TableRemoval(namespace: namespace).remove(names)
    }
}

extension ServiceProxy {
    /// Removes the proxy's own tables and everything in them, for good: what `--cleanup` does.
    ///
    /// - Returns: the names of those that were there.
    @discardableResult
    public static func removeTables(
        _ configuration: ServiceProxyConfiguration, namespace: CInt? = nil
    ) throws -> [String] {
        try TableRemoval(namespace: namespace).remove(
            [.ip, .ip6].map { NFTableName($0, configuration.tableName) })
    }
}

/// Tables that go, with their contents, if they are there.
private struct TableRemoval {
    let connection: NFTablesConnection

    init(namespace: CInt?) throws { connection = try NFTablesConnection(namespace: namespace) }

    func remove(_ names: [NFTableName]) throws -> [String] {
        // One by one instead of in one batch: a table that somebody owns must not keep the others.
        var removed: [String] = []
        for name in names {
            guard try connection.table(name) != nil else { continue }
            var batch = NFBatch()
            batch.delete(name)
            do {
                try connection.commit(batch)
            } catch {
                if error.isForbidden { throw TableIsOwned(name: "\(name)") }
                throw error
            }
            removed.append("\(name)")
        }
        return removed
    }
}

/// A program that lives keeps its tables from everybody else.
public struct TableIsOwned: Error, CustomStringConvertible {
    let name: String
    public var description: String {
        "table \(name) belongs to a program that runs: stop it first (`nft list tables` names it)"
    }
}
