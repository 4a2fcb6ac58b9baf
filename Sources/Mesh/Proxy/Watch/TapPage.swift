import HTTP

extension AdminServer {
    /// How often what has come is handed on.
    private static let tapPeriod: Duration = .milliseconds(50)
    /// Periods of silence after which an empty line is sent, so that a reader who is gone is noticed.
    private static let tapSilence = 200
    /// Taps at once.
    static let tapLimit = 16

    /// `/tap`: requests as they end, a line of JSON each, until the reader goes.
    func tap(_ request: AdminRequest, _ response: HTTPResponseWriter) async {
        let filter: TapFilter
        do { filter = try TapFilter(request.parameters) } catch {
            return await response.send(
                status: 400,
                text:
                    "\(error)\nusage: /tap?direction=inbound|outbound&method=GET&path=/prefix&host=part&status=5xx&min_ms=100"
                    + "&peer=part&failed\n")
        }
        guard await server.openTap() else {
            return await response.send(status: 429, text: "\(Self.tapLimit) taps are open already\n")
        }
        let tap = Tap(filter)
        for worker in server.workers { await worker.perform { $0.watch.add(tap) } }
        do {
            try await response.start(
                status: 200, headers: ["content-type": "application/x-ndjson", "cache-control": "no-cache"])
            var silence = 0
            while !response.isClosed {
                let bytes = tap.drain()
                silence = bytes.isEmpty ? silence + 1 : 0
                if !bytes.isEmpty {
                    try await response.write(bytes)
                } else if silence >= Self.tapSilence {
                    silence = 0
                    try await response.write([UInt8(ascii: "\n")])
                }
                try await response.loop.sleep(for: Self.tapPeriod)
            }
        } catch {
            // The reader is gone, which is how a tap ends.
        }
        for worker in server.workers { await worker.perform { $0.watch.remove(tap) } }
        await server.closeTap()
        await response.finish()
    }
}
