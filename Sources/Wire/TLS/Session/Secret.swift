import COpenSSL

/// Key material, overwritten when the last who knows it lets it go. An array would leave copies: it is copied on write, and
/// so also on overwriting.
final class Secret {
    private let bytes: UnsafeMutableRawBufferPointer

    /// `fill` finds zeros.
    init(count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) {
        bytes = .allocate(byteCount: count, alignment: 8)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        fill(bytes)
    }

    deinit {
        OPENSSL_cleanse(bytes.baseAddress, bytes.count)
        bytes.deallocate()
    }

    var count: Int { bytes.count }

    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        withExtendedLifetime(self) { body(UnsafeRawBufferPointer(bytes)) }
    }
}
