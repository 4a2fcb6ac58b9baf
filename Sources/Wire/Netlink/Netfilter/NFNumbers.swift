/// nfnetlink's and nf_tables' numbers, from the kernel's `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
enum NFNL {
    static let nftables: UInt16 = 10 << 8
    static let conntrack: UInt16 = 1 << 8
    static let batchBegin: UInt16 = 0x10
    static let batchEnd: UInt16 = 0x11
    static let batchGeneration: UInt16 = 1
    /// `nfgenmsg`: family, version, resource.
    static let headerSize = 4
}

/// Message types, without the subsystem.
enum NFTMessage {
    static let newTable: UInt16 = 0, getTable: UInt16 = 1, delTable: UInt16 = 2
    static let newChain: UInt16 = 3, getChain: UInt16 = 4, delChain: UInt16 = 5
    static let newRule: UInt16 = 6, getRule: UInt16 = 7, delRule: UInt16 = 8
    static let newSet: UInt16 = 9, getSet: UInt16 = 10, delSet: UInt16 = 11
    static let newElement: UInt16 = 12, getElement: UInt16 = 13, delElement: UInt16 = 14
    static let newGeneration: UInt16 = 15, getGeneration: UInt16 = 16
    static let newObject: UInt16 = 18, getObject: UInt16 = 19, delObject: UInt16 = 20
    static let destroyTable: UInt16 = 26, destroyChain: UInt16 = 27, destroyRule: UInt16 = 28
    static let destroySet: UInt16 = 29, destroyElement: UInt16 = 30, destroyObject: UInt16 = 31
}

/// Attribute types, an enum for each nest.
enum NFTA {
    enum Table {
        static let name: UInt16 = 1, flags: UInt16 = 2, use: UInt16 = 3, handle: UInt16 = 4
        static let userdata: UInt16 = 6, owner: UInt16 = 7
    }
    enum Chain {
        static let table: UInt16 = 1, handle: UInt16 = 2, name: UInt16 = 3, hook: UInt16 = 4
        static let policy: UInt16 = 5, use: UInt16 = 6, type: UInt16 = 7, flags: UInt16 = 10
        static let userdata: UInt16 = 12
    }
    enum Hook { static let number: UInt16 = 1, priority: UInt16 = 2, device: UInt16 = 3 }
    enum Set {
        static let table: UInt16 = 1, name: UInt16 = 2, flags: UInt16 = 3, keyType: UInt16 = 4
        static let keyLength: UInt16 = 5, dataType: UInt16 = 6, dataLength: UInt16 = 7, policy: UInt16 = 8
        static let description: UInt16 = 9, id: UInt16 = 10, timeout: UInt16 = 11, gcInterval: UInt16 = 12
        static let userdata: UInt16 = 13, objectType: UInt16 = 15, handle: UInt16 = 16
    }
    enum SetDescription { static let size: UInt16 = 1, concatenation: UInt16 = 2 }
    enum Elements { static let table: UInt16 = 1, set: UInt16 = 2, list: UInt16 = 3 }
    enum Element {
        static let key: UInt16 = 1, data: UInt16 = 2, flags: UInt16 = 3, timeout: UInt16 = 4
        static let expiration: UInt16 = 5, userdata: UInt16 = 6, objectReference: UInt16 = 9, keyEnd: UInt16 = 10
    }
    enum Rule {
        static let table: UInt16 = 1, chain: UInt16 = 2, handle: UInt16 = 3, expressions: UInt16 = 4
        static let position: UInt16 = 6, userdata: UInt16 = 7
    }
    enum Object {
        static let table: UInt16 = 1, name: UInt16 = 2, type: UInt16 = 3, data: UInt16 = 4
        static let use: UInt16 = 5, handle: UInt16 = 6
    }
    enum Generation { static let id: UInt16 = 1, processID: UInt16 = 2, processName: UInt16 = 3 }
    enum Data { static let value: UInt16 = 1, verdict: UInt16 = 2 }
    enum Verdict { static let code: UInt16 = 1, chain: UInt16 = 2 }
    static let listElement: UInt16 = 1
    enum Expression { static let name: UInt16 = 1, data: UInt16 = 2 }
}
