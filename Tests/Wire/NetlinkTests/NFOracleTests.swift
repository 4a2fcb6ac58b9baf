import Bytes
import CNetlink
import Testing

@testable import Netlink

@Suite("Our bytes against libnftnl's")
struct NFOracleTests {
    private static func body(_ batch: NFBatch) -> [UInt8] {
        let frame = batch.framed(first: 0, generation: nil, echo: false).bytes
        return frame.withUnsafeBytes { bytes in
            NetlinkMessages(bytes).filter { $0.type != NFNL.batchBegin && $0.type != NFNL.batchEnd }
                .flatMap { Array($0.payload) }
        }
    }

    /// What libnftnl writes behind the header.
    private static func oracle(_ build: (UnsafeMutablePointer<nlmsghdr>) -> Void) -> [UInt8] {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 16)
        defer { buffer.deallocate() }
        guard
            let header = nftnl_nlmsg_build_hdr(
                buffer.assumingMemoryBound(to: CChar.self), 0, UInt16(NFFamily.ip.rawValue), 0, 0)
        else { return [] }
        build(header)
        return Array(UnsafeRawBufferPointer(start: buffer, count: Int(header.pointee.nlmsg_len)).dropFirst(16))
    }

    @Test("elements of a map, byte for byte")
    func elements() throws {
        let name = NFSetName(NFTableName(.ip, "weft"), "endpoints")
        var random = SplitMix64(seed: 7)
        let pairs = (0..<300).map { _ in
            (
                (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) },
                (0..<8).map { _ in UInt8.random(in: 0...255, using: &random) }
            )
        }
        // One at a time, and the list alone: libnftnl numbers a list's entries and names the set before the table, which
        // is all the same to the kernel.
        let listBytes = 40
        for (key, data) in pairs {
            var batch = NFBatch()
            key.withUnsafeBytes { key in
                data.withUnsafeBytes { batch.element(.add, key: key, data: $0, in: name) }
            }
            let set = nftnl_set_alloc()
            defer { nftnl_set_free(set) }
            nftnl_set_set_str(set, UInt16(NFTNL_SET_TABLE.rawValue), "weft")
            nftnl_set_set_str(set, UInt16(NFTNL_SET_NAME.rawValue), "endpoints")
            let element = nftnl_set_elem_alloc()
            nftnl_set_elem_set(element, UInt16(NFTNL_SET_ELEM_KEY), key, UInt32(key.count))
            nftnl_set_elem_set(element, UInt16(NFTNL_SET_ELEM_DATA), data, UInt32(data.count))
            nftnl_set_elem_add(set, element)
            #expect(
                Self.body(batch).suffix(listBytes)
                    == Self.oracle { nftnl_set_elems_nlmsg_build_payload($0, set) }.suffix(listBytes))
        }
    }

    @Test("an element written the short way and the long way is the same")
    func shortAndLong() {
        let name = NFSetName(NFTableName(.ip, "weft"), "m")
        var (short, long) = (NFBatch(), NFBatch())
        let (key, data): ([UInt8], [UInt8]) = ([1, 2, 3, 4], [5, 6, 7, 8])
        key.withUnsafeBytes { key in data.withUnsafeBytes { short.element(.add, key: key, data: $0, in: name) } }
        long.element(.add, NFElement(key: key, data: .value(data)), in: name)
        #expect(Self.body(short) == Self.body(long))
    }

    @Test("libnftnl reads each of our rules without loss", arguments: NFTablesTests.rules)
    func rules(rule: NFRule) throws {
        var batch = NFBatch()
        batch.append(rule)
        let frame = batch.framed(first: 0, generation: nil, echo: false).bytes
        // The second message of the frame, in place.
        let text: String? = frame.withUnsafeBytes { bytes in
            let start = Int(bytes.loadUnaligned(as: UInt32.self))
            let parsed = nftnl_rule_alloc()
            defer { nftnl_rule_free(parsed) }
            let header = UnsafeMutableRawPointer.allocate(byteCount: bytes.count - start, alignment: 16)
            defer { header.deallocate() }
            header.copyMemory(from: bytes.baseAddress! + start, byteCount: bytes.count - start)
            guard nftnl_rule_nlmsg_parse(header.assumingMemoryBound(to: nlmsghdr.self), parsed) == 0 else { return nil }
            var buffer = [CChar](repeating: 0, count: 4096)
            nftnl_rule_snprintf(&buffer, buffer.count, parsed, UInt32(NFTNL_OUTPUT_DEFAULT.rawValue), 0)
            return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
        let seen = try #require(text)
        for expression in rule.expressions { #expect(seen.contains("[ \(expression.name)"), "\(seen)") }
        #expect(seen.components(of: "[ ") == rule.expressions.count, "\(seen)")
    }
}

extension String {
    /// How often `part` occurs.
    fileprivate func components(of part: String) -> Int {
        var (count, rest) = (0, self[...])
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

@Suite("Malformed nftables and conntrack messages")
struct NFMalformedTests {
    private static let valid: [[UInt8]] = {
        var batch = NFBatch()
        batch.add(NFTable(NFTablesTests.table, flags: .owner, comment: "x"))
        batch.add(NFChain(NFChainName(NFTablesTests.table, "c"), base: NFTablesTests.bases[0], comment: "y"))
        for set in NFTablesTests.sets { batch.add(set) }
        for object in NFTablesTests.objects { batch.add(object) }
        for rule in NFTablesTests.rules { batch.append(rule) }
        let set = NFSetName(NFTablesTests.table, "s")
        batch.element(
            .add, NFElement(key: [1, 2, 3, 4], data: .verdict(.goto("c")), timeout: 5, comment: "z"), in: set)
        batch.element(.add, NFElement(key: [1, 2, 3, 4], keyEnd: [2, 2, 2, 2], data: .value([4])), in: set)
        let frame = batch.framed(first: 0, generation: 7, echo: false).bytes
        var messages: [[UInt8]] = []
        var offset = 0
        while offset + 16 <= frame.count {
            let length = frame.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
            messages.append(Array(frame[offset..<(offset + length)]))
            offset += (length + 3) & ~3
        }
        var flow = NetlinkWriter()
        flow.message(type: NFNL.conntrack, flags: [], sequence: 0) { writer in
            writer.netfilterHeader(2)
            for type in [CTA.original, CTA.reply] {
                writer.nest(type) {
                    ConntrackTuple(from: .loopbackV4, 1, to: .loopbackV4, 2, transport: .udp).encode(into: &$0)
                }
            }
            writer.attribute(CTA.id, bigEndian: UInt32(9))
        }
        return messages + [flow.bytes]
    }()

    @discardableResult
    private static func read(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { buffer in
            NetlinkMessages(buffer).reduce(0) { sum, message in
                sum + (NFTablesEvent(message) == nil ? 0 : 1) + (ConntrackFlow(message) == nil ? 0 : 1)
                    + (NFTableTouch(message) == nil ? 0 : 1)
            }
        }
    }

    @Test("what we write, we read")
    func valid() {
        // Begin and end of the batch mean nothing to a reader.
        for message in Self.valid.dropFirst().dropLast(2) { #expect(Self.read(message) == 2) }
        #expect(Self.read(Self.valid.last ?? []) == 1)
    }

    @Test("every prefix, and every byte changed to the values that hurt lengths")
    func damage() {
        for message in Self.valid {
            for length in 0..<message.count {
                var cut = Array(message.prefix(length))
                Self.read(cut)
                guard length >= 16 else { continue }
                // With a header that fits, so that the cut is found further in.
                cut.withUnsafeMutableBytes { $0.storeBytes(of: UInt32(length), as: UInt32.self) }
                Self.read(cut)
            }
            for position in message.indices {
                for value: UInt8 in [0, 1, 3, 4, 5, 0x7F, 0x80, 0xFF] {
                    var changed = message
                    changed[position] = value
                    Self.read(changed)
                }
            }
        }
    }

    @Test("random damage", arguments: 0..<4)
    func random(seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        for _ in 0..<3000 {
            var bytes = Self.valid.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            Self.read(bytes)
        }
    }
}
