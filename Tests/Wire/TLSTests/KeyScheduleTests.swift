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

    /// RFC 8448 §3: the secrets of a handshake as its authors traced it, with the digests of its transcript.
    @Test("the secrets of RFC 8448's handshake") func traced() throws {
        let ours = try #require(KeySchedule.query)
        func hex(_ text: String) throws -> [UInt8] {
            let digits = try text.utf8.map { try #require(Hex.value($0)) }
            return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
        }
        func extract(_ key: [UInt8]?, _ salt: [UInt8]?) throws -> [UInt8] {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXTRACT_ONLY, digest: "SHA2-256", key: key, salt: salt, label: "derived",
                data: nil, count: 32)
        }
        func expand(_ secret: [UInt8], _ label: String, _ data: [UInt8]?, _ count: Int = 32) throws -> [UInt8] {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXPAND_ONLY, digest: "SHA2-256", key: secret, salt: nil, label: label,
                data: data, count: count)
        }
        let early = try extract(nil, nil)
        #expect(try early == hex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"))
        let shared = try hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
        let handshake = try extract(shared, early)
        #expect(try handshake == hex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"))
        let hello = try hex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8")
        let client = try expand(handshake, "c hs traffic", hello)
        #expect(try client == hex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"))
        let server = try expand(handshake, "s hs traffic", hello)
        #expect(try server == hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"))
        #expect(try expand(server, "key", [], 16) == hex("3fce516009c21727d0f2e4e86ee403bc"))
        #expect(try expand(server, "iv", [], 12) == hex("5d313eb2671276ee13000b30"))
        let main = try extract(nil, handshake)
        #expect(try main == hex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"))
        let finished = try hex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
        let clientData = try expand(main, "c ap traffic", finished)
        #expect(try clientData == hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"))
        let serverData = try expand(main, "s ap traffic", finished)
        #expect(try serverData == hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"))
        #expect(try expand(serverData, "key", [], 16) == hex("9f02283b6c9c07efc26bb9f2ac92e356"))
        #expect(try expand(clientData, "iv", [], 12) == hex("5b78923dee08579033e523d9"))
    }

    @Test("what it does not know is refused")
    func refusals() throws {
        let ours = try #require(KeySchedule.query)
        for digest in ["SHA3-256", "SHA2-512/256", "SHA512-256", "SM3"] {
            #expect(throws: Refused.self, "\(digest)") {
                try derive(
                    ours, mode: EVP_KDF_HKDF_MODE_EXPAND_ONLY, digest: digest, key: [1], salt: nil, label: "key",
                    data: nil, count: 16)
            }
        }
        #expect(throws: Refused.self) {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXPAND_ONLY, digest: "SHA256", key: [1], salt: nil,
                label: String(repeating: "l", count: 250), data: nil, count: 16)
        }
        #expect(throws: Refused.self) {
            try derive(
                ours, mode: EVP_KDF_HKDF_MODE_EXTRACT_ONLY, digest: "SHA256", key: [1], salt: nil, label: "derived",
                data: nil, count: 33)
        }
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
