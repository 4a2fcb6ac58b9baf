import Bytes
import Glibc
import HTTP

/// Who the client of a request is, from its connection and `x-forwarded-for`, and whether it is one of our own.
struct ClientIdentity {
    /// nil where only the connection knows.
    var remote: SocketAddress?
    var isInternal = false
    /// The first of our proxies that the request meets: what it says of itself is not believed.
    var isEdge = false
    /// The peer is put into `x-forwarded-for` although its own address is not used (`skip_xff_append: false`).
    var appendsPeer = false

    /// - Parameter forwarded: `x-forwarded-for` before this hop is appended.
    init(_ manager: ConnectionManager, peer: SocketAddress, forwarded: UnsafeRawBufferPointer?) {
        var mayBeTrusted: Bool
        if manager.options.usesRemoteAddress {
            mayBeTrusted = forwarded == nil
            if manager.options.trustedHops > 0, let forwarded {
                remote = Self.address(forwarded, fromLast: manager.options.trustedHops - 1)?.address
            }
            if remote == nil { remote = peer }
        } else {
            mayBeTrusted = false
            if !manager.options.clientDetectors.isEmpty { return }
            if let forwarded, let found = Self.address(forwarded, fromLast: manager.options.trustedHops) {
                remote = found.address
                mayBeTrusted = found.isOnly
            }
        }
        isInternal = mayBeTrusted && (remote.map(manager.isInternal) ?? false)
        isEdge = !isInternal && manager.options.usesRemoteAddress
    }

    /// As one of the detectors has found it.
    mutating func adopt(_ address: SocketAddress, isTrusted: Bool, appends: Bool, _ manager: ConnectionManager) {
        remote = address
        appendsPeer = appends
        isInternal = isTrusted && manager.isInternal(address)
    }

    /// The address so many places from the end of a list; nil where there is none, or no address.
    static func address(
        _ list: UnsafeRawBufferPointer, fromLast skipped: Int
    ) -> (address: SocketAddress, isOnly: Bool)? {
        var end = list.count
        for _ in 0..<skipped {
            guard let comma = list[..<end].lastIndex(of: UInt8(ascii: ",")) else { return nil }
            end = comma
        }
        let comma = list[..<end].lastIndex(of: UInt8(ascii: ","))
        let text = list[(comma.map { $0 + 1 } ?? 0)..<end].trimmed
        guard let address = IPAddress(utf8: text) else { return nil }
        return (.ip(address, 0), comma == nil && skipped == 0)
    }

    /// The first IPv4 address of this machine that is not a loopback's: what stands for a client on the same machine.
    static let localAddress: [UInt8] = {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return Array("127.0.0.1".utf8) }
        defer { freeifaddrs(list) }
        var next = list
        while let entry = next {
            next = entry.pointee.ifa_next
            guard let address = entry.pointee.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET) else {
                continue
            }
            let raw = UnsafeRawPointer(address).load(as: sockaddr_in.self).sin_addr.s_addr
            let found = IPAddress(v4: UInt32(bigEndian: raw))
            if !found.isLoopback { return Array("\(found)".utf8) }
        }
        return Array("127.0.0.1".utf8)
    }()
}

extension ConnectionManager {
    func isInternal(_ address: SocketAddress) -> Bool {
        switch address {
        case .ip(let ip, _, _): options.internalAddresses.map { $0.contains(ip) } ?? false
        default: options.trustsUnixSockets
        }
    }
}
