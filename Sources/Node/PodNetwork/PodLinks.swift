import Bytes
import Glibc
import Netlink

/// The attachments of this node: which pod has which addresses, on disk and in the kernel.
///
/// Blocking and single-threaded. The daemon keeps one on its loop; the stand-alone plugin makes one for a call.
public final class PodLinks {
    /// An attachment, and the number of its host end where that stands.
    public struct Entry: Hashable, Sendable {
        public var attachment: PodAttachment
        public var device: InterfaceIndex?
    }

    private let plumber: PodPlumber
    private let store: AttachmentStore
    private let quarantine: Int64
    private let now: () -> Int64
    private var pools: [AddressPool] = []
    private var entries: [AttachmentID: Entry] = [:]
    /// Attachments that are gone and whose addresses rest, with the time until then.
    private var resting: [PodAttachment: Int64] = [:]
    /// Largest packet of links to be made.
    public var mtu: UInt32 = 1500

    /// Reads the record of this node's attachments back and finds out which still stand.
    ///
    /// `now` gives seconds of the wall clock. `lockTimeout` is how long, in milliseconds, to wait for another process that has
    /// the store.
    public init(
        directory: String, bootID: String = AttachmentStore.currentBootID(), quarantine: Int64 = 30,
        lockTimeout: Int = 0, now: @escaping () -> Int64 = { Int64(time(nil)) }
    ) throws {
        plumber = try PodPlumber()
        self.quarantine = quarantine
        self.now = now
        let records: [AttachmentStore.Record]
        (store, records) = try AttachmentStore.open(directory, bootID: bootID, timeout: lockTimeout)
        let standing = try plumber.hostInterfaces()
        for record in records {
            let attachment = record.attachment
            if let releasedAt = record.releasedAt {
                // A clock that was set back must not keep an address for ever.
                resting[attachment] = min(releasedAt, now()) + quarantine
                continue
            }
            entries[attachment.id] = Entry(attachment: attachment, device: standing[attachment.hostInterface])
        }
        forgetRested()
    }

    public var all: [AttachmentID: Entry] { entries }

    /// Whether an attachment in the book has this host end.
    func owns(hostInterface name: String) -> Bool { entries.values.contains { $0.attachment.hostInterface == name } }

    /// The node's pod prefixes, at most one of each family, in the order in which pods get their addresses. Attachments made
    /// under other prefixes stay; their addresses belong to no pool any more.
    public func setPrefixes(_ prefixes: [CIDR]) {
        guard prefixes.map(\.network) != pools.map(\.prefix) else { return }
        pools = prefixes.compactMap { AddressPool(prefix: $0, quarantine: quarantine) }
        for entry in entries.values {
            for address in entry.attachment.addresses { claim(address, for: entry.attachment.id) }
        }
        for (attachment, until) in resting {
            for address in attachment.addresses {
                for index in pools.indices { pools[index].rest(address, until: until) }
            }
        }
    }

    public var prefixes: [CIDR] { pools.map(\.prefix) }

    private func claim(_ address: IPAddress, for id: AttachmentID) {
        for index in pools.indices where pools[index].prefix.contains(address) {
            try? pools[index].claim(address, for: id)
        }
    }

    /// Gives a pod its interface and addresses. Asked again for the same id, it makes the link anew with the same addresses:
    /// the runtime that asks does not know what an earlier try left.
    public func attach(_ request: AttachRequest) throws -> Entry {
        guard !pools.isEmpty else { throw PodNetworkError.notReady("this node has no pod prefix yet (spec.podCIDR)") }
        let addresses = try entries[request.id]?.attachment.addresses ?? allocate(request)
        let attachment = PodAttachment(
            id: request.id, namespacePath: request.namespacePath, pod: request.pod, addresses: addresses,
            hostInterface: PodGateway.hostInterface(request.id),
            hardwareAddress: request.hardwareAddress ?? PodGateway.podHardwareAddress(addresses[0]), mtu: mtu)
        // The record comes first: after a crash between the two there is an address too many in the book, which the runtime's DEL
        // or GC returns; the other way round it would be given out twice.
        do {
            try store.save(.init(attachment: attachment))
            entries[request.id] = Entry(attachment: attachment)
            let device = try plumber.attach(attachment)
            entries[request.id]?.device = device
        } catch {
            forget(attachment)
            throw error
        }
        return Entry(attachment: attachment, device: entries[request.id]?.device)
    }

    /// One address from each pool, or those asked for.
    private func allocate(_ request: AttachRequest) throws -> [IPAddress] {
        let saved = pools
        do {
            for address in request.addresses where !pools.contains(where: { $0.prefix.contains(address) }) {
                throw AddressPoolError.foreign(address, prefix: pools[0].prefix)
            }
            let time = now()
            return try pools.indices.map { index in
                if let wanted = request.addresses.first(where: { pools[index].prefix.contains($0) }) {
                    if let holder = pools[index].holder(of: wanted) { throw AddressPoolError.taken(wanted, by: holder) }
                    try pools[index].claim(wanted, for: request.id)
                    return wanted
                }
                return try pools[index].allocate(for: request.id, now: time)
            }
        } catch {
            pools = saved
            throw error
        }
    }

    /// Takes a pod's interface away; nil where nothing is known of it, which is no error.
    @discardableResult
    public func detach(_ id: AttachmentID) throws -> Entry? {
        guard let entry = entries[id] else { return nil }
        try plumber.detach(entry.attachment)
        forget(entry.attachment)
        return entry
    }

    /// Out of the book; the addresses rest.
    private func forget(_ attachment: PodAttachment) {
        entries[attachment.id] = nil
        let time = now()
        for index in pools.indices {
            for address in attachment.addresses { pools[index].release(address, by: attachment.id, now: time) }
        }
        if (try? store.save(.init(attachment: attachment, releasedAt: time))) == nil { store.remove(attachment.id) }
        resting[attachment] = time + quarantine
        forgetRested()
    }

    /// Deletes records that were kept only for their addresses' rest.
    private func forgetRested() {
        let time = now()
        for (attachment, until) in resting where until <= time {
            if entries[attachment.id] == nil { store.remove(attachment.id) }
            resting[attachment] = nil
        }
    }

    /// Throws what is not as `attach` left it. `addresses` are those that the runtime believes in; empty asks for none.
    public func check(_ id: AttachmentID, addresses: [IPAddress] = []) throws {
        guard let entry = entries[id] else { throw PodNetworkError.unknown(id) }
        for address in addresses where !entry.attachment.addresses.contains(address) {
            throw PodNetworkError.faulty(id, "the runtime believes in address \(address), which is not the pod's")
        }
        if let fault = try plumber.fault(entry.attachment) { throw PodNetworkError.faulty(id, fault) }
    }

    /// Takes away every attachment that is not in `valid`; goes on after errors, and throws the first at the end.
    @discardableResult
    public func collect(valid: Set<AttachmentID>) throws -> [Entry] {
        var removed: [Entry] = []
        var failure: (any Error)?
        for id in entries.keys.sorted(by: { $0.description < $1.description }) where !valid.contains(id) {
            do { if let entry = try detach(id) { removed.append(entry) } } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
        return removed
    }

    /// Gives back what belongs to pods that are no more: neither their link nor their namespace stands. What has a namespace but
    /// no link is linked again, for then someone deleted the link under a living pod.
    ///
    /// Run at start, after the prefixes are known, and when a link vanishes.
    public func reconcile() -> (relinked: [Entry], lost: [Entry], failures: [any Error]) {
        var relinked: [Entry] = []
        var lost: [Entry] = []
        var failures: [any Error] = []
        let standing: [String: InterfaceIndex]
        do { standing = try plumber.hostInterfaces() } catch { return ([], [], [error]) }
        for (id, entry) in entries {
            let attachment = entry.attachment
            if let device = standing[attachment.hostInterface] {
                entries[id]?.device = device
                continue
            }
            if (try? NamespaceHandle.open(attachment.namespacePath)) != nil {
                do {
                    entries[id]?.device = try plumber.attach(attachment)
                    if let entry = entries[id] { relinked.append(entry) }
                } catch { failures.append(error) }
            } else {
                forget(attachment)
                lost.append(entry)
            }
        }
        return (relinked, lost, failures)
    }
}
