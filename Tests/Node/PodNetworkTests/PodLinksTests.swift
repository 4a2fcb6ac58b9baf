import Bytes
import Glibc
import Netlink
import Testing

@testable import PodNetwork

@Suite("Pods' links, on the kernel")
struct PodLinksTests {
    private func id(_ n: Int) -> AttachmentID { AttachmentID(containerID: "c\(n)", interface: "eth0")! }

    private func links(_ node: NodeNamespace, now: @escaping () -> Int64 = { 1000 }) throws -> PodLinks {
        let links = try PodLinks(directory: node.stateDirectory, bootID: "boot-1", quarantine: 30, now: now)
        links.setPrefixes([try #require(CIDR("10.244.1.0/24"))])
        return links
    }

    @Test("a pod gets its address, its gateway and a way back, and reaches its neighbour on the node")
    func attach() throws {
        let node = try NodeNamespace("172.30.0.11")
        let (one, two) = (try PodNamespace(), try PodNamespace())
        let (first, second) = try node.namespace.inside {
            try HostSettings.apply()
            let links = try links(node)
            return (
                try links.attach(AttachRequest(id: id(1), namespacePath: one.path, pod: "shop/cart")),
                try links.attach(AttachRequest(id: id(2), namespacePath: two.path))
            )
        }
        #expect(first.attachment.addresses == [IPAddress("10.244.1.2")!])
        #expect(second.attachment.addresses == [IPAddress("10.244.1.3")!])

        let routes = try node.connection()
        let host = try #require(try routes.link(named: first.attachment.hostInterface))
        #expect(host.index == first.device)
        #expect(host.isUp && host.hasCarrier)
        #expect(host.alias == "shop/cart")
        #expect(
            try routes.routes(origin: .weft).contains {
                $0.destination == CIDR("10.244.1.2/32") && $0.device == host.index
            })

        let inside = try one.connection()
        let device = try #require(try inside.link(named: "eth0"))
        #expect(device.isUp)
        #expect(device.hardwareAddress == first.attachment.hardwareAddress)
        #expect(try inside.link(named: "lo")?.isUp == true)
        let ways = try inside.routes()
        #expect(ways.first { $0.destination.prefixLength == 0 }?.gateway == IPAddress("169.254.1.1"))
        #expect(try inside.neighbours(on: device.index).first?.state == .permanent)

        #expect(try one.reaches(IPAddress("10.244.1.3")!, in: two) == IPAddress("10.244.1.2"))
        #expect(try two.reaches(IPAddress("10.244.1.2")!, in: one) == IPAddress("10.244.1.3"))
    }

    @Test("a pod that pretends another's address is not heard")
    func spoofing() throws {
        let node = try NodeNamespace("172.30.0.11")
        let (one, two, liar) = (try PodNamespace(), try PodNamespace(), try PodNamespace())
        try node.namespace.inside {
            try HostSettings.apply()
            let links = try links(node)
            for (n, pod) in [one, two, liar].enumerated() {
                _ = try links.attach(AttachRequest(id: id(n), namespacePath: pod.path))
            }
        }
        let inside = try liar.connection()
        let device = try #require(try inside.link(named: "eth0")).index
        try inside.perform([
            .add(InterfaceAddress(device: device, address: CIDR("10.244.1.2/32")!)),
            .delete(InterfaceAddress(device: device, address: CIDR("10.244.1.4/32")!)),
            .add(Route(destination: CIDR("0.0.0.0/0")!, device: device, gateway: IPAddress("169.254.1.1"))),
        ])
        #expect(try liar.reaches(IPAddress("10.244.1.3")!, in: two, seconds: 1) == nil)
        #expect(try one.reaches(IPAddress("10.244.1.3")!, in: two) == IPAddress("10.244.1.2"))
    }

    @Test("detach takes everything away, and again is no error")
    func detach() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        try node.namespace.inside {
            let links = try links(node)
            _ = try links.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            #expect(try links.detach(id(1)) != nil)
            #expect(try links.detach(id(1)) == nil)
            #expect(links.all.isEmpty)
        }
        #expect(try node.connection().links().count == 1)
        #expect(try node.connection().routes(origin: .weft).isEmpty)
        #expect(try pod.connection().links().count == 1)
    }

    @Test("attach again for the same id keeps the addresses and makes the link anew")
    func again() throws {
        let node = try NodeNamespace("172.30.0.11")
        let (pod, successor) = (try PodNamespace(), try PodNamespace())
        try node.namespace.inside {
            let links = try links(node)
            let before = try links.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            let after = try links.attach(AttachRequest(id: id(1), namespacePath: successor.path))
            #expect(before.attachment.addresses == after.attachment.addresses)
            try links.check(id(1))
        }
        #expect(try pod.connection().links().count == 1)
        #expect(try successor.connection().link(named: "eth0") != nil)
    }

    @Test("an attach that fails half-way leaves neither link nor address behind")
    func failure() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        // The pod's interface name is taken.
        try pod.connection().perform([.create(LinkSpec(name: "eth0", kind: .bridge(.init())))])
        try node.namespace.inside {
            let links = try links(node)
            #expect(throws: NetlinkError.self) {
                try links.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            }
            #expect(throws: PodNetworkError.self) {
                try links.attach(AttachRequest(id: id(2), namespacePath: "/nonexistent"))
            }
            #expect(throws: PodNetworkError.self) {
                try links.attach(AttachRequest(id: id(2), namespacePath: "/etc/hostname"))
            }
            #expect(links.all.isEmpty)
        }
        #expect(try node.connection().links().count == 1)
    }

    @Test("check finds each thing that can be taken away", arguments: 0..<6)
    func check(row: Int) throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        try node.namespace.inside {
            let links = try links(node)
            let entry = try links.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            try links.check(id(1), addresses: entry.attachment.addresses)
            let routes = try RouteConnection()
            let inside = try pod.connection()
            let device = try #require(try inside.link(named: "eth0")).index
            let host = try #require(entry.device)
            switch row {
            case 0: try routes.perform([.delete(link: host)])
            case 1: try routes.perform([.change(host, LinkChange(isUp: false))])
            case 2: try routes.perform([.delete(Route(destination: CIDR("10.244.1.2/32")!, device: host))])
            case 3: try inside.perform([.delete(InterfaceAddress(device: device, address: CIDR("10.244.1.2/32")!))])
            case 4: try inside.perform([.change(device, LinkChange(isUp: false))])
            default:
                try inside.perform([
                    .delete(Route(destination: CIDR("0.0.0.0/0")!, gateway: IPAddress("169.254.1.1"), origin: .weft))
                ])
            }
            let error = #expect(throws: PodNetworkError.self) { try links.check(id(1)) }
            #expect("\(error.map { "\($0)" } ?? "")".contains("c1/eth0"))
        }
        try node.namespace.inside {
            let other = try PodLinks(directory: node.stateDirectory + "-none", bootID: "b")
            #expect(throws: PodNetworkError.self) { try other.check(id(9)) }
        }
    }

    @Test("gc takes away what the runtime does not know, and nothing else")
    func collect() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pods = try (0..<4).map { _ in try PodNamespace() }
        try node.namespace.inside {
            let links = try links(node)
            for (n, pod) in pods.enumerated() {
                _ = try links.attach(AttachRequest(id: id(n), namespacePath: pod.path))
            }
            let removed = try links.collect(valid: [id(1), id(3)])
            #expect(Set(removed.map(\.attachment.id)) == [id(0), id(2)])
            #expect(Set(links.all.keys) == [id(1), id(3)])
            try links.check(id(1))
        }
    }

    @Test("a successor finds the pods of its predecessor, keeps their addresses, and gives none out twice")
    func restart() throws {
        let node = try NodeNamespace("172.30.0.11")
        let (one, two) = (try PodNamespace(), try PodNamespace())
        try node.namespace.inside {
            var first: PodLinks? = try links(node)
            _ = try first?.attach(AttachRequest(id: id(1), namespacePath: one.path))
            first = nil
            let second = try links(node)
            #expect(second.all[id(1)]?.device != nil)
            try second.check(id(1))
            #expect(
                try second.attach(AttachRequest(id: id(2), namespacePath: two.path)).attachment.addresses == [
                    IPAddress("10.244.1.3")!
                ])
        }
    }

    @Test("what rests goes on resting after a restart")
    func restingOverRestart() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        try node.namespace.inside {
            var first: PodLinks? = try links(node)
            _ = try first?.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            try first?.detach(id(1))
            first = nil
            let wanted = AttachRequest(id: id(2), namespacePath: pod.path, addresses: [])
            let second = try links(node, now: { 1029 })
            #expect(try second.attach(wanted).attachment.addresses == [IPAddress("10.244.1.3")!])
        }
    }

    @Test("the records of an earlier boot are void, and half a record is no record")
    func boot() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        try node.namespace.inside {
            var first: PodLinks? = try links(node)
            _ = try first?.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            first = nil
            let rebooted = try PodLinks(directory: node.stateDirectory, bootID: "boot-2")
            #expect(rebooted.all.isEmpty)
        }
    }

    @Test("a store has one owner at a time, and says who stands in the way")
    func oneOwner() throws {
        let node = try NodeNamespace("172.30.0.11")
        try node.namespace.inside {
            let first = try links(node)
            #expect(throws: (any Error).self) { try links(node) }
            _ = first
        }
    }

    @Test("a pod whose namespace died without DEL gives its address back; one whose link was deleted is linked again")
    func reconcile() throws {
        let node = try NodeNamespace("172.30.0.11")
        var dying: PodNamespace? = try PodNamespace()
        // A path that leads nowhere once the namespace is gone: low descriptors are given to the next test at once.
        let descriptor = fcntl(try #require(dying).namespace.descriptor, F_DUPFD_CLOEXEC, 800)
        try #require(descriptor >= 800)
        let living = try PodNamespace()
        try node.namespace.inside {
            let links = try links(node)
            let lost = try links.attach(
                AttachRequest(id: id(1), namespacePath: "/proc/\(getpid())/fd/\(descriptor)"))
            let kept = try links.attach(AttachRequest(id: id(2), namespacePath: living.path))
            close(descriptor)
            dying = nil
            let routes = try RouteConnection()
            try eventually("the dead pod's link goes with its namespace") {
                try routes.link(named: lost.attachment.hostInterface) == nil
            }
            try routes.perform([.delete(linkNamed: kept.attachment.hostInterface)])
            let found = links.reconcile()
            #expect(found.lost.map(\.attachment.id) == [id(1)])
            #expect(found.relinked.map(\.attachment.id) == [id(2)])
            #expect(found.failures.isEmpty)
            #expect(Set(links.all.keys) == [id(2)])
            try links.check(id(2))
        }
    }

    @Test("a node with a prefix of each family gives each pod an address and a default route of each")
    func dualStack() throws {
        let node = try NodeNamespace("172.30.0.11")
        let pod = try PodNamespace()
        try node.namespace.inside {
            let links = try PodLinks(directory: node.stateDirectory, bootID: "b")
            links.setPrefixes([CIDR("10.244.1.0/24")!, CIDR("fd00:1::/64")!])
            let entry = try links.attach(AttachRequest(id: id(1), namespacePath: pod.path))
            #expect(entry.attachment.addresses == [IPAddress("10.244.1.2")!, IPAddress("fd00:1::2")!])
            try links.check(id(1))
        }
        let inside = try pod.connection()
        let device = try #require(try inside.link(named: "eth0"))
        let six = try inside.addresses(on: device.index).first { $0.address == CIDR("fd00:1::2/128") }
        // Usable at once: duplicate address detection would take up to a second.
        #expect(six?.flags.contains(.tentative) == false)
        #expect(try inside.routes().contains { $0.destination == CIDR("::/0") && $0.gateway == IPAddress("fe80::1") })
        #expect(try node.connection().routes(origin: .weft).contains { $0.destination == CIDR("fd00:1::2/128") })
    }
}
