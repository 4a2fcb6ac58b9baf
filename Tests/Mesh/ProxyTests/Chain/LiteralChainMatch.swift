import Bytes

@testable import Proxy

/// The rule as Envoy's documentation words it, without an index: at each criterion only those chains stay whose most specific
/// value fits, and nobody comes back.
struct LiteralChainMatch {
    var chains: [FilterChainMatch]

    struct Connection: CustomStringConvertible {
        var destination: IPEndpoint?
        var direct: IPEndpoint?
        var source: IPEndpoint?
        var serverName = ""
        var isTLS = false
        var protocols: [String] = []

        var description: String {
            "to \(destination.map(String.init) ?? "unix") from \(source.map(String.init) ?? "unix") direct \(direct.map(String.init) ?? "unix") name \(serverName) tls \(isTLS) alpn \(protocols)"
        }
    }

    func choose(_ connection: Connection) -> Int? {
        var left = Array(chains.indices)
        left = keep(left, [connection.destination?.port].compactMap { $0 }) {
            chains[$0].destinationPort.map { [$0] } ?? []
        }
        left = keep(left, around(connection.destination?.address)) { chains[$0].destinationPrefixes }
        left = keep(left, spellings(connection.serverName)) { chains[$0].serverNames.map { $0.lowercased() } }
        left = keep(left, [connection.isTLS ? "tls" : "raw_buffer"]) {
            chains[$0].transportProtocol.isEmpty ? [] : [chains[$0].transportProtocol]
        }
        left = keep(left, connection.protocols) { chains[$0].applicationProtocols }
        left = keep(left, around(connection.direct?.address)) { chains[$0].directSourcePrefixes }
        let isLocal =
            connection.source.map { $0.address.isLoopback || $0.address == connection.destination?.address } ?? true
        left = keep(left, [isLocal ? FilterChainMatch.SourceType.sameAddressOrLoopback : .external]) {
            chains[$0].sourceType == .any ? [] : [chains[$0].sourceType]
        }
        left = keep(left, around(connection.source?.address)) { chains[$0].sourcePrefixes }
        left = keep(left, [connection.source?.port].compactMap { $0 }) { chains[$0].sourcePorts }
        return left.first
    }

    /// The chains that want the first of the connection's values that any chain wants; else those that want none.
    private func keep<Value: Equatable>(_ left: [Int], _ values: [Value], _ wanted: (Int) -> [Value]) -> [Int] {
        for value in values {
            let fitting = left.filter { wanted($0).contains(value) }
            if !fitting.isEmpty { return fitting }
        }
        return left.filter { wanted($0).isEmpty }
    }

    private func around(_ address: IPAddress?) -> [CIDR] {
        guard let address else { return [] }
        return (0...address.bitWidth).reversed().compactMap { CIDR(address, prefixLength: $0)?.network }
    }

    private func spellings(_ name: String) -> [String] {
        guard !name.isEmpty else { return [] }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        return [name] + labels.indices.dropFirst().map { "*." + labels[$0...].joined(separator: ".") }
    }
}
