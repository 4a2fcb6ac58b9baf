import Bytes
import CLinux
import Glibc
import Netlink
import Reactor

/// A network namespace for this process and its children, in which every address of 10.0.0.0/8 is this machine: whatever
/// endpoint a Service's packet is sent to, it is answered.
enum BenchNetwork {
    /// Who connects.
    private static let pod = IPAddress(v4: 10, 255, 255, 254)

    /// Before any other thread is made.
    static func enter() throws {
        guard unshare(CLONE_NEWNET) == 0 else { throw SystemError.last("unshare", "network namespace") }
        let routes = try RouteConnection()
        guard let loopback = try routes.link(named: "lo") else {
            throw SystemError(errno: ENODEV, call: "find", subject: "lo")
        }
        try routes.perform([.change(loopback.index, LinkChange(isUp: true))])
        guard let everything = CIDR("10.0.0.0/8") else { return }
        try routes.perform([
            .add(
                Route(
                    destination: everything, device: loopback.index, table: .local, scope: .host, type: .local))
        ])
    }

    /// Accepts on the endpoints' port, on a thread of its own, for ever; each connection is closed at once.
    static func answer(on port: UInt16) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard listener >= 0 else { throw SystemError.last("socket") }
        var yes: CInt = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, 4)
        var address = sockaddr_in(.anyV4, port)
        guard address.withPointer({ bind(listener, $0, $1) }) == 0, listen(listener, 4096) == 0 else {
            throw SystemError.last("listen", "port \(port)")
        }
        var thread = pthread_t()
        let context = UnsafeMutableRawPointer(bitPattern: Int(listener))
        pthread_create(
            &thread, nil,
            { context in
                let listener = CInt(Int(bitPattern: context))
                while true {
                    let connection = accept(listener, nil, nil)
                    if connection >= 0 { close(connection) }
                }
            }, context)
    }

    /// Microseconds until a connection stood, or nil when it was refused or took longer than `patience`. It leaves no
    /// TIME_WAIT behind.
    static func connect(_ address: IPAddress, _ port: UInt16, patience: Duration = .seconds(2)) -> Double? {
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard client >= 0 else { return nil }
        defer { close(client) }
        var yes: CInt = 1
        var reset = linger(l_onoff: 1, l_linger: 0)
        setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
        let (seconds, attoseconds) = patience.components
        var timeout = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        // As a pod does it, so that nothing is masqueraded; and with a port of its own only once the peer is known.
        setsockopt(client, CInt(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &yes, 4)
        var own = sockaddr_in(pod, 0)
        guard own.withPointer({ bind(client, $0, $1) }) == 0 else { return nil }
        var peer = sockaddr_in(address, port)
        let start = ContinuousClock.now
        let status = peer.withPointer { Glibc.connect(client, $0, $1) }
        return status == 0 ? (ContinuousClock.now - start).milliseconds * 1000 : nil
    }
}

extension sockaddr_in {
    fileprivate init(_ address: IPAddress, _ port: UInt16) {
        self.init()
        sin_family = sa_family_t(AF_INET)
        sin_port = port.bigEndian
        sin_addr.s_addr = (address.v4 ?? 0).bigEndian
    }

    fileprivate mutating func withPointer<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: &self) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
