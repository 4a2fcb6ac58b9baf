import Bytes
import ClusterAPI
import Glibc
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

/// A network namespace with a proxy in it; `nft` looks into it.
final class ProxyBench {
    let namespace: NamespaceHandle
    var proxy: ServiceProxy
    let nftables: NFTablesConnection
    let configuration: ServiceProxyConfiguration

    init(_ configuration: ServiceProxyConfiguration = .testing, in namespace: NamespaceHandle? = nil) throws {
        let namespace = try namespace ?? NamespaceHandle.create()
        self.namespace = namespace
        self.configuration = configuration
        proxy = try ServiceProxy(configuration, namespace: namespace.descriptor)
        nftables = try NFTablesConnection(namespace: namespace.descriptor)
    }

    /// As a daemon that was killed and started again: nothing of it remains but the kernel's table.
    func restart(_ configuration: ServiceProxyConfiguration? = nil) throws {
        proxy = try ServiceProxy(
            {
                var none = self.configuration
                none.families = []
                return none
            }())
        proxy = try ServiceProxy(configuration ?? self.configuration, namespace: namespace.descriptor)
    }

    struct Failure: Error, CustomStringConvertible { var description: String }

    /// Runs a program in the namespace, with text on its input; its output.
    @discardableResult
    func run(_ command: String, input: String = "") throws -> String {
        try Self.run(command, input: input, in: namespace)
    }

    @discardableResult
    static func run(_ command: String, input: String = "", in namespace: NamespaceHandle) throws -> String {
        let child = try ChildCommand([
            "nsenter", "--net=/proc/\(getpid())/fd/\(namespace.descriptor)", "sh", "-c", command,
        ])
        let (output, status) = child.finish(input)
        guard status == 0 else { throw Failure(description: "\(command): \(output)") }
        return output
    }

    /// What the kernel holds, past our own tracker.
    func elements(_ set: ServiceSet, _ family: NFFamily = .ip) throws -> Set<NFElement> {
        let table = NFTableName(family, configuration.tableName)
        return Set(try nftables.elements(of: set.name(in: table)))
    }

    /// The kernel's elements, all sets, as the codec reads them.
    func kernelState(_ family: NFFamily = .ip) throws -> [ServiceElementKey: ServiceElementValue] {
        let codec = ServiceElementCodec(family: family == .ip ? .v4 : .v6)
        var state: [ServiceElementKey: ServiceElementValue] = [:]
        for set in ServiceSet.allCases where set != .serviceRanges {
            for element in try elements(set, family) {
                let value: [UInt8]? = if case .value(let bytes) = element.data { bytes } else { nil }
                guard let decoded = Self.decode(element, value, set, codec) else {
                    throw Failure(description: "an element that is not ours: \(element)")
                }
                state[decoded.0] = decoded.1
            }
        }
        for key in codec.serviceRanges(Array(try elements(.serviceRanges, family))) { state[key] = .present }
        let shape = proxy.families.first { $0.kernel.shape.name.family == family }?.kernel.shape
        for element in try shape.map({ try nftables.elements(of: $0.classes.id) }) ?? [] {
            if let (slotClass, sticky) = shape?.sticky(element) { state[.stickyClass(slotClass)] = .sticky(sticky) }
        }
        return state
    }
}

extension ProxyBench {
    private static func decode(
        _ element: NFElement, _ value: [UInt8]?, _ set: ServiceSet, _ codec: ServiceElementCodec
    ) -> (ServiceElementKey, ServiceElementValue)? {
        element.key.withUnsafeBytes { key in
            (element.keyEnd ?? []).withUnsafeBytes { end in
                (value ?? []).withUnsafeBytes {
                    codec.decode(
                        set, key: key, keyEnd: end.isEmpty ? nil : end, value: value == nil ? nil : $0)
                }
            }
        }
    }
}

extension ServiceSpec {
    static func test(_ name: String, _ clusterIP: String, _ ports: Port...) -> ServiceSpec {
        ServiceSpec(ObjectKey(namespace: "test", name: name), clusterIPs: [address(clusterIP)], ports: ports)
    }
}

extension EndpointSliceSpec {
    /// One slice, all of whose endpoints are ready; those in `local` are on this node.
    static func test(_ service: String, _ ports: [Port], _ addresses: [String], local: Set<String> = []) -> Self {
        EndpointSliceSpec(
            ObjectKey(namespace: "test", name: service + "-1"), of: ObjectKey(namespace: "test", name: service),
            addresses.first?.contains(":") == true ? .v6 : .v4, ports: ports,
            endpoints: addresses.map {
                .init(address($0), local.contains($0) ? [.ready, .serving, .local] : [.ready, .serving])
            })
    }
}
