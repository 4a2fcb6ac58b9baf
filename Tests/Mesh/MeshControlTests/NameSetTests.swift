import Bytes
import Testing

@testable import Discovery
@testable import MeshControl

@Suite("A set of names by number")
struct NameSetTests {
    @Test("it is a set", arguments: 1...20 as ClosedRange<UInt64>)
    func isSet(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var (set, model) = (NameSet(), Set<Int>())
        for _ in 0..<400 {
            let id = Int(random.next() % 300)
            switch random.next() % 3 {
            case 0: #expect(set.remove(id) == (model.remove(id) != nil))
            default: #expect(set.insert(id) == model.insert(id).inserted)
            }
            #expect(set.count == model.count && set.isEmpty == model.isEmpty && set.contains(id) == model.contains(id))
        }
        #expect(Array(set) == model.sorted())
    }

    @Test("sets with the same numbers are the same, however they came to be")
    func equality() {
        var (first, second) = (NameSet(), NameSet())
        for id in [3, 500, 70] { first.insert(id) }
        for id in [70, 3] { second.insert(id) }
        #expect(first != second)
        first.remove(500)
        #expect(first == second)
    }
}
