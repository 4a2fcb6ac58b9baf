import Testing

@testable import weft

@Suite("The ends of a question")
struct QuestionEndsTests {
    @Test(
        "an arrow may stand alone, within quotes, without blanks, or not at all",
        arguments: [
            ["shop/web", "→", "shop/cart:80"], ["shop/web", "->", "shop/cart:80"], ["shop/web → shop/cart:80"],
            ["shop/web->shop/cart:80"], ["shop/web", "shop/cart:80"],
        ])
    func split(_ words: [String]) {
        #expect(QuestionEnds.split(words) == ["shop/web", "shop/cart:80"])
    }

    @Test("an arrow without quotes, of which the shell leaves a dash, is told")
    func shell() {
        #expect(throws: (any Error).self) { try WhyCommand.parse(["shop/web", "-"]) }
        let error = #expect(throws: (any Error).self) { try CheckPolicy.parse(["shop/web", "-"]) }
        #expect(error.map { CheckPolicy.fullMessage(for: $0).contains("the shell took >") } == true)
    }
}
