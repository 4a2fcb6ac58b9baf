/// The two ends of a question, `A → B` or `A -> B`: as words of their own, as one word in quotes, or run together.
enum QuestionEnds {
    static func split(_ words: [String]) -> [String] {
        var ends: [String] = []
        for word in words {
            // A name may have a dash, but none that ends with an angle.
            for part in word.replacing("->", with: " ").replacing("→", with: " ").split(separator: " ") {
                ends.append(String(part))
            }
        }
        return ends
    }

    /// What to say besides when a shell took the arrow's angle for itself, and made a file of what follows.
    static func hint(_ words: [String]) -> String {
        words.last == "-" ? "; the shell took > for itself: write → or '->', or leave the arrow out" : ""
    }
}
