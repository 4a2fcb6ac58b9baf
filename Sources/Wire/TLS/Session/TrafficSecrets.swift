/// The two secrets of a TLS 1.3 connection's data, as `KeySchedule` derives them.
struct TrafficSecrets {
    var client: Secret?
    var server: Secret?

    /// `label` without its prefix (RFC 8446 §7.1): "c ap traffic" or "s ap traffic"; others are passed over.
    mutating func take(_ label: UnsafeRawBufferPointer, _ secret: UnsafeRawBufferPointer) {
        guard label.count == 12, label.dropFirst().elementsEqual(" ap traffic".utf8) else { return }
        let kept = Secret(count: secret.count) { $0.copyMemory(from: secret) }
        if label[0] == UInt8(ascii: "c") { client = kept }
        if label[0] == UInt8(ascii: "s") { server = kept }
    }
}
