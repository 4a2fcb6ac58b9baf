// A build without tests compiles this room too, and has no such module.
#if canImport(Testing)
    import Reactor
    package import Testing

    /// What a test waited for in vain.
    package struct NeverSo: Error, CustomStringConvertible {
        package var what: String
        package init(what: String) { self.what = what }
        package var description: String { "it never became so: \(what)" }
    }

    /// Waits until it holds, a minute at most; then the test has an issue, and ends. What throws does not hold yet.
    ///
    /// - Parameter look: What there is to see when it never holds.
    package func eventually(
        _ what: String, on loop: EventLoop, _ condition: () async throws -> Bool,
        otherwise look: () async -> String = { "" }, at place: SourceLocation = #_sourceLocation
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            var error = ""
            do { if try await condition() { return } } catch let thrown { error = " (\(thrown))" }
            guard ContinuousClock.now < deadline, !Task.isCancelled else {
                Issue.record("it never became so: \(what)\(error)\n\(await look())", sourceLocation: place)
                throw NeverSo(what: what + error)
            }
            try await loop.sleep(for: .milliseconds(20))
        }
    }
#endif
