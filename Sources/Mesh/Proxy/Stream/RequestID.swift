import HTTP

/// `x-request-id`: a UUID of version 4 by which a request is found in every log it went through.
enum RequestID {
    static let length = 36

    static func make(_ random: inout some RandomNumberGenerator, on request: HeaderBlock) {
        let (high, low) = (random.next() as UInt64, random.next() as UInt64)
        withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { text in
            var at = 0
            for index in 0..<16 {
                if index == 4 || index == 6 || index == 8 || index == 10 {
                    text[at] = UInt8(ascii: "-")
                    at += 1
                }
                let half = index < 8 ? high : low
                var byte = UInt8(truncatingIfNeeded: half >> UInt64(56 - 8 * (index & 7)))
                if index == 6 { byte = byte & 0x0f | 0x40 }
                if index == 8 { byte = byte & 0x3f | 0x80 }
                text[at] = digit(byte >> 4)
                text[at + 1] = digit(byte & 15)
                at += 2
            }
            request.set(.xRequestID, UnsafeRawBufferPointer(text))
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 87 }
}
