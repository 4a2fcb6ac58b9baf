import Netlink
import Testing

@Suite("Elements of interval sets")
struct IntervalElementTests {
    private func text(_ ranges: [ClosedRange<UInt8>]) -> String {
        NFElement.intervals(ranges.map { ([$0.lowerBound], [$0.upperBound]) })
            .map { "\($0.isIntervalEnd ? "<" : "")\($0.key[0])" }.joined(separator: " ")
    }

    struct Case: Sendable {
        var ranges: [ClosedRange<UInt8>]
        var elements: String
    }

    @Test(
        "ranges that overlap or touch become one, and the last key needs no end",
        arguments: [
            Case(ranges: [], elements: ""),
            Case(ranges: [5...5], elements: "5 <6"),
            Case(ranges: [9...12, 3...4], elements: "3 <5 9 <13"),
            Case(ranges: [3...8, 5...6], elements: "3 <9"),
            Case(ranges: [3...8, 5...10], elements: "3 <11"),
            Case(ranges: [3...8, 9...10], elements: "3 <11"),
            Case(ranges: [3...8, 3...8], elements: "3 <9"),
            Case(ranges: [0...255], elements: "0"),
            Case(ranges: [200...255, 210...220, 1...2], elements: "1 <3 200"),
        ])
    func merge(_ row: Case) { #expect(text(row.ranges) == row.elements) }

    @Test("the end behind a key carries over its bytes")
    func carry() {
        let elements = NFElement.intervals([([10, 0, 0, 0], [10, 255, 255, 255])])
        #expect(elements == [NFElement(key: [10, 0, 0, 0]), .end([11, 0, 0, 0])])
    }
}
