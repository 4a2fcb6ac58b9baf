import Bytes
import HTTP
import Testing

@testable import Proxy

@Suite("Trace context")
struct TraceContextTests {
    private static let text = "00-0123456789abcdeffedcba9876543210-1122334455667788-01"

    private func parsed(_ text: String) -> TraceContext? {
        var text = text
        return text.withUTF8 { TraceContext(UnsafeRawBufferPointer($0)) }
    }

    @Test("what is written is read as the same")
    func roundTrip() throws {
        var random = SplitMix64(seed: 7)
        for _ in 0..<1000 {
            var context = TraceContext(&random)
            context.isSampled = random.next() & 1 == 0
            let again = context.withText { TraceContext($0) }
            #expect(again == context)
        }
        let context = try #require(parsed(Self.text))
        #expect(context.withText { String(decoding: $0, as: UTF8.self) } == Self.text)
        #expect(context.withTraceText { String(decoding: $0, as: UTF8.self) } == "0123456789abcdeffedcba9876543210")
        #expect(context.isSampled)
    }

    @Test("every prefix, and every change of a dash or to a letter that is no digit, is refused")
    func malformed() {
        for length in 0..<Self.text.count { #expect(parsed(String(Self.text.prefix(length))) == nil) }
        #expect(parsed(Self.text + "-") == nil)
        for index in 0..<Self.text.count {
            var bytes = Array(Self.text.utf8)
            bytes[index] = UInt8(ascii: "g")
            #expect(parsed(String(decoding: bytes, as: UTF8.self)) == nil)
        }
        #expect(parsed("00-00000000000000000000000000000000-1122334455667788-01") == nil)
        #expect(parsed("00-0123456789abcdeffedcba9876543210-0000000000000000-01") == nil)
    }

    @Test("a child is of the same trace and has a number of its own")
    func child() throws {
        var random = SplitMix64(seed: 7)
        let parent = try #require(parsed(Self.text))
        let child = parent.child(&random)
        #expect((child.high, child.low, child.isSampled) == (parent.high, parent.low, parent.isSampled))
        #expect(child.span != parent.span)
    }

    @Test(
        "samplers",
        arguments: [
            (TraceSampler.parent, true, true, true), (.parent, false, true, false), (.always, false, true, true),
            (.ratio(0), true, true, false), (.ratio(1 << 32), true, false, true),
            (.parentBased(.ratio(0)), true, true, true), (.parentBased(.ratio(0)), true, false, false),
            (.parentBased(.always), false, true, false),
        ] as [(TraceSampler, Bool, Bool, Bool)])
    func samplers(_ sampler: TraceSampler, _ isSampled: Bool, _ hasParent: Bool, _ samples: Bool) throws {
        var context = try #require(parsed(Self.text))
        context.isSampled = isSampled
        #expect(sampler.samples(context, hasParent: hasParent) == samples)
    }
}
