import COpenSSL

/// ALPN names in their wire form: each preceded by its length.
final class ProtocolList: Sendable {
    private let encoded: [UInt8]
    private let mismatch: TLSServerConfiguration.ProtocolMismatch

    init(_ names: [String], mismatch: TLSServerConfiguration.ProtocolMismatch) throws(TLSError) {
        var encoded: [UInt8] = []
        for name in names {
            guard (1...255).contains(name.utf8.count), encoded.count < 4096 else {
                throw TLSError(.configuration, "\"\(name)\" is not a protocol name for ALPN")
            }
            encoded.append(UInt8(name.utf8.count))
            encoded.append(contentsOf: name.utf8)
        }
        self.encoded = encoded
        self.mismatch = mismatch
    }

    func withBytes<R>(_ body: (UnsafeBufferPointer<UInt8>) -> R) -> R { encoded.withUnsafeBufferPointer(body) }

    /// What OpenSSL does where no name is in common.
    var answerWithoutCommonName: CInt {
        // RFC 7301 §3.2: no protocol in common ends the handshake.
        mismatch == .refuse ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK
    }

    /// Our first name that the client offers too, as a slice of the client's own list (which outlives the callback).
    func choose(from offer: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
        withBytes { ours in
            for mine in LengthPrefixed(ours) {
                for theirs in LengthPrefixed(offer) where theirs.elementsEqual(mine) { return theirs }
            }
            return nil
        }
    }
}

/// Walks strings that are each preceded by one byte of length; stops at the first that is cut short.
private struct LengthPrefixed: Sequence, IteratorProtocol {
    private var rest: UnsafeBufferPointer<UInt8>
    init(_ bytes: UnsafeBufferPointer<UInt8>) { rest = bytes }

    mutating func next() -> UnsafeBufferPointer<UInt8>? {
        guard let first = rest.first, Int(first) < rest.count else { return nil }
        let end = 1 + Int(first)
        defer { rest = UnsafeBufferPointer(rebasing: rest[end...]) }
        return UnsafeBufferPointer(rebasing: rest[1..<end])
    }
}

let selectProtocol:
    @convention(c) (
        OpaquePointer?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, UnsafeMutablePointer<UInt8>?,
        UnsafePointer<UInt8>?, UInt32, UnsafeMutableRawPointer?
    ) -> CInt = { _, chosen, chosenLength, offer, offerLength, argument in
        guard let argument, let offer else { return SSL_TLSEXT_ERR_NOACK }
        let list = Unmanaged<ProtocolList>.fromOpaque(argument).takeUnretainedValue()
        guard let name = list.choose(from: UnsafeBufferPointer(start: offer, count: Int(offerLength))) else {
            return list.answerWithoutCommonName
        }
        chosen?.pointee = name.baseAddress
        chosenLength?.pointee = UInt8(truncatingIfNeeded: name.count)
        return SSL_TLSEXT_ERR_OK
    }
