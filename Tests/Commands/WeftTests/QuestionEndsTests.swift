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
}
