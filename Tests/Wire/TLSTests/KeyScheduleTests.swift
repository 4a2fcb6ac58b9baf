import Bytes
import COpenSSL
import Glibc
import Testing

@testable import TLS

@Suite("Key schedule")
struct KeyScheduleTests {
    private struct Refused: Error {}

    /// Asks a provider for a secret, in OpenSSL's words.
    private func derive(
        _ query: String, mode: CInt, digest: String, key: [UInt8]?, salt: [UInt8]?, label: String, data: [UInt8]?,
        count: Int
    ) throws -> [UInt8] {
        let kdf = try #require(EVP_KDF_fetch(nil, "TLS13-KDF", query))
        defer { EVP_KDF_free(kdf) }
        let context = try #require(EVP_KDF_CTX_new(kdf))
        defer { EVP_KDF_CTX_free(context) }
        let builder = try #require(OSSL_PARAM_BLD_new())
        defer { OSSL_PARAM_BLD_free(builder) }
        // The builder keeps texts by their address.
        var names: [UnsafeMutablePointer<CChar>?] = []
        defer { for name in names { free(name) } }
        func name(_ text: String) -> UnsafeMutablePointer<CChar>? {
            names.append(strdup(text))
            return names.last ?? nil
        }
        OSSL_PARAM_BLD_push_int(builder, name("mode"), mode)
        OSSL_PARAM_BLD_push_utf8_string(builder, name("digest"), name(digest), 0)
        let octets = [
            ("key", key), ("salt", salt), ("prefix", Array("tls13 ".utf8)), ("label", Array(label.utf8)),
            ("data", data),
        ]
        for case (let text, let bytes?) in octets {
            OSSL_PARAM_BLD_push_octet_string(builder, name(text), bytes, bytes.count)
        }
        let parameters = try #require(OSSL_PARAM_BLD_to_param(builder))
        defer { OSSL_PARAM_free(parameters) }
        var output = [UInt8](repeating: 0, count: count)
        guard EVP_KDF_derive(context, &output, count, parameters) == 1 else { throw Refused() }
        return output
    }

    @Test("every secret is the one that OpenSSL itself derives", arguments: [UInt64(1), 2, 3])
    func agreement(seed: UInt64) throws {
        let ours = try #require(KeySchedule.query)
        var random = SplitMix64(seed: seed)
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
        for _ in 0..<40 {
            for (digest, size) in [("SHA2-256", 32), ("SHA256", 32), ("SHA2-384", 48), ("SHA384", 48)] {
                let key = bytes(size)
                let data: [UInt8]? = Bool.random(using: &random) ? bytes(size) : nil
                let count = [12, 16, 32, size, 100, 255].randomElement(using: &random) ?? size
                let label =
                    ["c ap traffic", "key", "iv", "finished", "exp master"].randomElement(using: &random) ?? "key"
                let mixed: [UInt8]? =
                    Bool.random(using: &random) ? bytes(Int.random(in: 1...1024, using: &random)) : nil
                let salt: [UInt8]? = Bool.random(using: &random) ? bytes(size) : nil
                let expanded = try [ours, "provider=default"].map {
                    try derive(
                        $0, mode: EVP_KDF_HKDF_MODE_EXPAND_ONLY, digest: digest, key: key, salt: nil, label: label,
                        data: data, count: count)
                }
                #expect(expanded[0] == expanded[1], "\(digest) \(label) \(count)")
                let extracted = try [ours, "provider=default"].map {
                    try derive(
                        $0, mode: EVP_KDF_HKDF_MODE_EXTRACT_ONLY, digest: digest, key: mixed, salt: salt,
                        label: "derived", data: nil, count: size)
                }
                #expect(extracted[0] == extracted[1], "\(digest) \(mixed?.count ?? 0) \(salt?.count ?? 0)")
            }
        }
    }

    @Test("what it does not know is refused")
    func refusals() throws {
        let ours = try #require(KeySchedule.query)
        #expect(throws: Refused.self) {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXPAND_ONLY, digest: "MD5", key: [1], salt: nil, label: "key", data: nil,
                count: 16)
        }
        #expect(throws: Refused.self) {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, digest: "SHA256", key: [1], salt: nil, label: "key",
                data: nil, count: 16)
        }
    }

    @Test("HMAC takes keys of any length", arguments: [0, 1, 63, 64, 65, 127, 128, 129, 500])
    func hmac(length: Int) {
        let key = [UInt8](repeating: 0x5a, count: length)
        let text = Array("what is authenticated".utf8)
        var (short, long) = ([UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 48))
        weft_hmac_sha256(key, length, text, text.count, &short)
        weft_hmac_sha384(key, length, text, text.count, &long)
        var expected = [UInt8](repeating: 0, count: 64)
        var count: UInt32 = 0
        #expect(HMAC(EVP_sha256(), key, CInt(length), text, text.count, &expected, &count) != nil)
        #expect(short == Array(expected[..<32]))
        #expect(HMAC(EVP_sha384(), key, CInt(length), text, text.count, &expected, &count) != nil)
        #expect(long == Array(expected[..<48]))
    }
}
