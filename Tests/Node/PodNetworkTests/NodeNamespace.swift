import Bytes
import Glibc
import Netlink
import Reactor
import Testing

@testable import PodNetwork

/// A node in a namespace of its own, on a link to its peers, with a state directory that goes with it.
final class NodeNamespace {
    let namespace: NamespaceHandle
    let stateDirectory: String
    let address: IPAddress

    init(_ address: String) throws {
        namespace = try NamespaceHandle.create()
        self.address = try #require(IPAddress(address))
        var template = Array("/tmp/weft-podnet-XXXXXX".utf8CString)
        stateDirectory = String(cString: try #require(mkdtemp(&template)))
        let routes = try connection()
        try routes.perform([.change(InterfaceIndex(1), LinkChange(isUp: true))])
    }

    deinit { try? Files.removeTree(stateDirectory) }

    func connection() throws -> RouteConnection { try RouteConnection(namespace: namespace.descriptor) }

    /// One Ethernet between the two, both ends addressed.
    func link(to other: NodeNamespace) throws {
        let peer = LinkSpec(name: "eth0", mtu: 1500, namespace: other.namespace.descriptor)
        try connection().perform([.create(LinkSpec(name: "eth0", kind: .veth(peer: peer), mtu: 1500))])
        for node in [self, other] {
            let routes = try node.connection()
            let device = try #require(try routes.link(named: "eth0")).index
            try routes.perform([
                .change(device, LinkChange(isUp: true)),
                .add(InterfaceAddress(device: device, address: try #require(CIDR(node.address, prefixLength: 24)))),
            ])
        }
    }

    /// The configuration of a daemon here.
    func configuration(_ name: String, backend: Backend = .vxlan, socket: Bool = false) throws
        -> PodNetworkConfiguration
    {
        PodNetworkConfiguration(
            nodeName: name, address: address, backend: backend, clusterPrefixes: [try #require(CIDR("10.244.0.0/16"))],
            stateDirectory: stateDirectory + "/state", socket: socket ? stateDirectory + "/cni.sock" : nil,
            quarantine: 0)
    }

    /// A daemon whose threads live here.
    func daemon(_ name: String, backend: Backend = .vxlan, socket: Bool = false, gate: (any PodGate)? = nil) throws
        -> PodNetworkDaemon
    {
        let configuration = try configuration(name, backend: backend, socket: socket)
        return try namespace.inside { try PodNetworkDaemon(configuration, gate: gate) }
    }
}

/// A pod's namespace, with a path as a container runtime gives it.
final class PodNamespace {
    let namespace: NamespaceHandle
    var path: String { "/proc/\(getpid())/fd/\(namespace.descriptor)" }
    init() throws { namespace = try NamespaceHandle.create() }

    func connection() throws -> RouteConnection { try RouteConnection(namespace: namespace.descriptor) }

    /// Sends a datagram to `address` from here and waits for it to arrive in `other`; the source that it arrives from.
    func reaches(_ address: IPAddress, in other: PodNamespace, port: UInt16 = 7777, seconds: Int = 5) throws
        -> IPAddress?
    {
        let receiver = try other.namespace.inside { socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) }
        let sender = try namespace.inside { socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) }
        defer {
            close(receiver)
            close(sender)
        }
        var local = sockaddr_in()
        local.sin_family = sa_family_t(AF_INET)
        local.sin_port = port.bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &local) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(receiver, $0, size) }
        }
        guard bound == 0 else { return nil }
        var remote = local
        remote.sin_addr.s_addr = (address.v4 ?? 0).bigEndian
        for _ in 0..<(seconds * 20) {
            _ = withUnsafePointer(to: &remote) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(sender, "x", 1, 0, $0, size) }
            }
            var entry = pollfd(fd: receiver, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 50) > 0 else { continue }
            var from = sockaddr_in()
            var length = size
            var byte: UInt8 = 0
            _ = withUnsafeMutablePointer(to: &from) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(receiver, &byte, 1, 0, $0, &length) }
            }
            return IPAddress(v4: UInt32(bigEndian: from.sin_addr.s_addr))
        }
        return nil
    }
}

/// Waits until `condition` holds, and says what was last seen when it never does.
func eventually(
    _ what: String, seconds: Double = 5, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
) throws {
    let deadline = clock_monotonic() + seconds
    while clock_monotonic() < deadline {
        if try condition() { return }
        usleep(2000)
    }
    Issue.record("not within \(seconds) s: \(what)", sourceLocation: sourceLocation)
}

private func clock_monotonic() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// A thread that is joined before its results are read.
final class Worker: @unchecked Sendable {
    private var thread = pthread_t()
    private let body: () -> Void

    init(_ body: @escaping () -> Void) {
        self.body = body
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Worker>.fromOpaque(argument).takeUnretainedValue().body() }
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    func join() { pthread_join(thread, nil) }
}

/// Results of workers, each in its own place.
final class Replies: @unchecked Sendable {
    private let slots: UnsafeMutableBufferPointer<CNIReply?>

    init(count: Int) {
        slots = .allocate(capacity: count)
        slots.initialize(repeating: nil)
    }

    deinit {
        slots.deinitialize()
        slots.deallocate()
    }

    func set(_ index: Int, _ reply: CNIReply?) { slots[index] = reply }
    var all: [CNIReply?] { Array(slots) }
}

extension NamespaceHandle {
    /// As `run`, for what is not Sendable: the caller waits, so nothing is ever used by two threads at once.
    func inside<Value>(_ body: () throws -> Value) throws -> Value {
        try withoutActuallyEscaping(body) { body in
            let errand = Errand(body)
            try run { errand.perform() }
            return try errand.result.get()
        }
    }

    private final class Errand<Value>: @unchecked Sendable {
        private let body: () throws -> Value
        private(set) var result: Result<Value, any Error> = .failure(CancellationError())
        init(_ body: @escaping () throws -> Value) { self.body = body }
        func perform() { result = Result { try body() } }
    }
}
