import COpenSSL

/// Unpredictable bytes from OpenSSL's generator, for keys, tokens and identifiers.
public enum SecureRandom {
    /// `count` unpredictable bytes.
    public static func bytes(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            fill(UnsafeMutableRawBufferPointer(buffer))
            filled = count
        }
    }

    /// Fills the buffer. A generator that cannot be seeded ends the process: going on would hand out guessable keys.
    public static func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
        let done = RAND_bytes(base.assumingMemoryBound(to: UInt8.self), CInt(buffer.count))
        precondition(done == 1, "the system has no entropy")
    }
}

/// A random (version 4) UUID in its text form, as Kubernetes objects carry in `metadata.uid`.
public func makeUUID() -> String {
    var bytes: (UInt64, UInt64) = (0, 0)
    withUnsafeMutableBytes(of: &bytes) { raw in
        SecureRandom.fill(raw)
        raw[6] = raw[6] & 0x0f | 0x40
        raw[8] = raw[8] & 0x3f | 0x80
    }
    return withUnsafeBytes(of: &bytes) { raw in
        String(unsafeUninitializedCapacity: 36) { text in
            var at = 0
            for (index, byte) in raw.enumerated() {
                if index == 4 || index == 6 || index == 8 || index == 10 {
                    text[at] = UInt8(ascii: "-")
                    at += 1
                }
                text[at] = hexDigit(byte >> 4)
                text[at + 1] = hexDigit(byte & 15)
                at += 2
            }
            return at
        }
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 87 }
