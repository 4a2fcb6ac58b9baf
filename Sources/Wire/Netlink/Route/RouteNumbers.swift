// The kernel's numbers for rtnetlink (uapi: rtnetlink.h, if_link.h, if_addr.h, neighbour.h, fib_rules.h, net_namespace.h),
// under the kernel's names. Written out because these headers do not pass through Swift's importer whole, and because a
// number of the wire is a constant of the protocol, not of the build machine.

/// Message types.
enum RTM {
    static let newLink: UInt16 = 16
    static let delLink: UInt16 = 17
    static let getLink: UInt16 = 18
    static let setLink: UInt16 = 19
    static let newAddr: UInt16 = 20
    static let delAddr: UInt16 = 21
    static let getAddr: UInt16 = 22
    static let newRoute: UInt16 = 24
    static let delRoute: UInt16 = 25
    static let getRoute: UInt16 = 26
    static let newNeigh: UInt16 = 28
    static let delNeigh: UInt16 = 29
    static let getNeigh: UInt16 = 30
    static let newRule: UInt16 = 32
    static let delRule: UInt16 = 33
    static let getRule: UInt16 = 34
    static let newNsid: UInt16 = 88
    static let delNsid: UInt16 = 89
    static let getNsid: UInt16 = 90
}

/// Link attributes.
enum IFLA {
    static let address: UInt16 = 1
    static let ifname: UInt16 = 3
    static let mtu: UInt16 = 4
    static let link: UInt16 = 5
    static let master: UInt16 = 10
    static let operstate: UInt16 = 16
    static let linkinfo: UInt16 = 18
    static let ifalias: UInt16 = 20
    static let netNsFd: UInt16 = 28
    static let linkNetnsid: UInt16 = 37

    enum Info {
        static let kind: UInt16 = 1
        static let data: UInt16 = 2
    }
    enum Veth {
        static let peer: UInt16 = 1
    }
    enum VXLAN {
        static let id: UInt16 = 1
        static let group: UInt16 = 2
        static let link: UInt16 = 3
        static let local: UInt16 = 4
        static let learning: UInt16 = 7
        static let port: UInt16 = 15
        static let group6: UInt16 = 16
        static let local6: UInt16 = 17
    }
    enum Bridge {
        static let forwardDelay: UInt16 = 1
        static let stpState: UInt16 = 5
        static let vlanFiltering: UInt16 = 7
    }
    enum Macvlan {
        static let mode: UInt16 = 1
    }
}

/// Interface address attributes.
enum IFA {
    static let address: UInt16 = 1
    static let local: UInt16 = 2
    static let label: UInt16 = 3
    static let flags: UInt16 = 8
}

/// Route attributes.
enum RTA {
    static let dst: UInt16 = 1
    static let src: UInt16 = 2
    static let oif: UInt16 = 4
    static let gateway: UInt16 = 5
    static let priority: UInt16 = 6
    static let prefsrc: UInt16 = 7
    static let metrics: UInt16 = 8
    static let multipath: UInt16 = 9
    static let table: UInt16 = 15
    static let via: UInt16 = 18

    enum Metric {
        static let mtu: UInt16 = 2
        static let advmss: UInt16 = 8
    }
}

/// Neighbour and forwarding-database attributes.
enum NDA {
    static let dst: UInt16 = 1
    static let lladdr: UInt16 = 2
    static let port: UInt16 = 6
    static let vlan: UInt16 = 5
    static let vni: UInt16 = 7
    static let ifindex: UInt16 = 8
    static let master: UInt16 = 9
}

/// Routing-rule attributes.
enum FRA {
    static let dst: UInt16 = 1
    static let src: UInt16 = 2
    static let iifname: UInt16 = 3
    static let goto: UInt16 = 4
    static let priority: UInt16 = 6
    static let fwmark: UInt16 = 10
    static let suppressPrefixLength: UInt16 = 14
    static let table: UInt16 = 15
    static let fwmask: UInt16 = 16
    static let oifname: UInt16 = 17
    static let `protocol`: UInt16 = 21
}

/// Network-namespace id attributes.
enum NETNSA {
    static let nsid: UInt16 = 1
    static let pid: UInt16 = 2
    static let fd: UInt16 = 3
}

/// Address families as the wire writes them.
enum AF {
    static let unspec: UInt8 = 0
    static let inet: UInt8 = 2
    static let bridge: UInt8 = 7
    static let inet6: UInt8 = 10
}
