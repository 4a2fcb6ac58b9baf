import Bytes
import CLinux
import Glibc

extension SocketAddress {
    /// The address family number for `socket(2)`.
    public var familyNumber: CInt {
        switch self {
        case .ip(let address, _, _): address.family == .v4 ? AF_INET : AF_INET6
        case .unix, .abstract: AF_UNIX
        case .netlink: AF_NETLINK
        }
    }

    /// The kernel's form, valid within the closure. `ENAMETOOLONG` for a Unix name of more than 107 bytes.
    public func withKernelAddress<R>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> R
    ) throws(SystemError) -> R {
        var storage = sockaddr_storage()
        let length = try write(to: &storage)
        var result: Result<R, SystemError>?
        withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                result = Result { () throws(SystemError) in try body(pointer, length) }
            }
        }
        guard let result else { throw SystemError(errno: EINVAL, call: "sockaddr", subject: description) }
        return try result.get()
    }

    /// Fills `storage`; answers how many bytes of it count.
    func write(to storage: inout sockaddr_storage) throws(SystemError) -> socklen_t {
        switch self {
        case .ip(let address, let port, let scope):
            return storage.set(IPEndpoint(address, port, scope: scope))
        case .unix(let path):
            return try writeUnix(path, skipping: 0, to: &storage)
        case .abstract(let name):
            return try writeUnix(name, skipping: 1, to: &storage)
        case .netlink(let port, let groups):
            withUnsafeMutableBytes(of: &storage) { room in
                room.storeBytes(of: UInt16(AF_NETLINK), as: UInt16.self)
                room.storeBytes(of: port, toByteOffset: 4, as: UInt32.self)
                room.storeBytes(of: groups, toByteOffset: 8, as: UInt32.self)
            }
            return 12
        }
    }

    private func writeUnix(_ name: String, skipping: Int, to storage: inout sockaddr_storage) throws(SystemError)
        -> socklen_t
    {
        let bytes = Array(name.utf8)
        guard bytes.count + skipping <= 107, !bytes.contains(0) else {
            throw SystemError(errno: ENAMETOOLONG, call: "sockaddr_un", subject: description)
        }
        withUnsafeMutableBytes(of: &storage) { room in
            room.storeBytes(of: UInt16(AF_UNIX), as: UInt16.self)
            UnsafeMutableRawBufferPointer(rebasing: room[(2 + skipping)...]).copyBytes(from: bytes)
        }
        // An abstract name is exactly as long as it is; a path ends with a zero byte.
        return socklen_t(2 + skipping + bytes.count + (skipping == 0 ? 1 : 0))
    }

    /// From the kernel's form; nil for families that we do not use.
    public init?(_ storage: borrowing sockaddr_storage, length: socklen_t) {
        let found = withUnsafeBytes(of: storage) { bytes -> SocketAddress? in
            let bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(length)))
            guard bytes.count >= 2 else { return .unix(path: "") }
            switch CInt(bytes.loadUnaligned(as: UInt16.self)) {
            case AF_UNIX:
                let name = bytes[2...]
                guard let first = name.first else { return .unix(path: "") }
                if first == 0 { return .abstract(name: String(decoding: name.dropFirst(), as: UTF8.self)) }
                return .unix(path: String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
            case AF_NETLINK where bytes.count >= 12:
                return .netlink(
                    port: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self),
                    groups: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
            default:
                return nil
            }
        }
        if let endpoint = storage.endpoint {
            self.init(endpoint)
        } else if let found {
            self = found
        } else {
            return nil
        }
    }

    /// What a descriptor is bound to.
    static func local(of fd: CInt) -> SocketAddress? { asked(getsockname, fd) }

    /// Whom a descriptor is connected to.
    static func peer(of fd: CInt) -> SocketAddress? { asked(getpeername, fd) }

    private static func asked(
        _ call: (CInt, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt, _ fd: CInt
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(fd, $0, &length) }
        }
        return result == 0 ? SocketAddress(storage, length: length) : nil
    }
}

extension sockaddr_storage {
    /// Makes it an IP end; answers its length.
    @inline(__always)
    mutating func set(_ endpoint: IPEndpoint) -> socklen_t {
        withUnsafeMutableBytes(of: &self) { room in
            room.storeBytes(of: endpoint.port.rawValue.bigEndian, toByteOffset: 2, as: UInt16.self)
            if endpoint.address.family == .v4 {
                room.storeBytes(of: UInt16(AF_INET), as: UInt16.self)
                room.storeBytes(
                    of: UInt32(truncatingIfNeeded: endpoint.address.low).bigEndian, toByteOffset: 4, as: UInt32.self)
                room.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
                return 16
            }
            room.storeBytes(of: UInt16(AF_INET6), as: UInt16.self)
            room.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
            room.storeBytes(of: endpoint.address.high.bigEndian, toByteOffset: 8, as: UInt64.self)
            room.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 16, as: UInt64.self)
            room.storeBytes(of: endpoint.scope, toByteOffset: 24, as: UInt32.self)
            return 28
        }
    }

    /// The IP end that it is; nil for other families.
    @inline(__always)
    var endpoint: IPEndpoint? {
        withUnsafeBytes(of: self) { bytes in
            let port = Port(UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self)))
            switch CInt(bytes.load(as: UInt16.self)) {
            case AF_INET:
                return IPEndpoint(
                    IPAddress(v4: UInt32(bigEndian: bytes.load(fromByteOffset: 4, as: UInt32.self))), port)
            case AF_INET6:
                return IPEndpoint(
                    IPAddress(
                        v6: UInt64(bigEndian: bytes.load(fromByteOffset: 8, as: UInt64.self)),
                        UInt64(bigEndian: bytes.load(fromByteOffset: 16, as: UInt64.self))),
                    port, scope: bytes.load(fromByteOffset: 24, as: UInt32.self))
            default:
                return nil
            }
        }
    }
}

/// Sets an integer option; throws with the option's name as the subject.
func setOption(
    _ fd: CInt, _ level: CInt, _ option: CInt, _ value: CInt, _ name: @autoclosure () -> String
) throws(SystemError) {
    var value = value
    _ = try checked("setsockopt", name()) { setsockopt(fd, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) }
}

/// Opens a socket that blocks nobody and is inherited by nobody.
func openSocket(_ family: CInt, _ kind: CInt, _ number: CInt = 0) throws(SystemError) -> CInt {
    try checked("socket") { socket(family, kind | CInt(SOCK_NONBLOCK_) | CInt(SOCK_CLOEXEC_), number) }
}
