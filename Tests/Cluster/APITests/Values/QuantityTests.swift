import JSON
import Testing

@testable import ClusterAPI

@Suite struct QuantityTests {
    /// Left what is written, right what kubectl 1.33 makes of it (`kubectl create quota --dry-run=client`).
    @Test(
        "an amount has the canonical text that Kubernetes gives it",
        arguments: [
            ("0", "0"),
            ("0.0", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1.5", "1500m"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("0.5Gi", "512Mi"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1023Mi", "1023Mi"),
            ("1000Mi", "1000Mi"),
            ("1Ki", "1Ki"),
            ("1024", "1024"),
            ("1023", "1023"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("1e2", "100"),
            ("12e6", "12e6"),
            ("1.5e3", "1500"),
            ("1E", "1E"),
            ("1e-3", "1e-3"),
            ("5e-9", "5e-9"),
            ("1n", "1n"),
            ("1u", "1u"),
            ("1000n", "1u"),
            ("1500u", "1500u"),
            ("0.0000000001", "1n"),
            ("0.1n", "1n"),
            ("1k", "1k"),
            ("1000k", "1M"),
            ("1000000", "1M"),
            ("1234567", "1234567"),
            ("123456789012345678", "123456789012345678"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775808"),
            ("1e20", "100e18"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("-5", "-5"),
            ("-1.5", "-1500m"),
            ("-0.1", "-100m"),
            (".5", "500m"),
            ("1.5Ki", "1536"),
            ("1.23456789", "1234567890n"),
            ("1.2345678901", "1234567891n"),
            ("3M", "3M"),
            ("3000M", "3G"),
            ("2048Ki", "2Mi"),
            ("100Gi", "100Gi"),
            ("0e5", "0"),
            ("0Ki", "0"),
            ("1.0Gi", "1Gi"),
            ("0.001", "1m"),
            ("0.0001", "100u"),
            ("1e-10", "1e-9"),
            ("1Gi1", nil),
            ("1gi", nil),
            ("1K", nil),
            ("", nil),
            ("1..2", nil),
            ("1 ", nil),
            ("1 Gi", nil),
            ("0x1", nil),
            ("1e", nil),
            ("1.000000001Gi", "1073741825073741824n"),
            ("1073741824.5", "1073741824500m"),
            ("0.25Mi", "256Ki"),
        ] as [(String, String?)])
    func canonical(text: String, expected: String?) {
        let quantity = Quantity(text)
        #expect(quantity?.description == expected)
        if let quantity { #expect(Quantity(quantity.description) == quantity) }
    }

    @Test("amounts compare and add across formats") func arithmetic() throws {
        let half = try #require(Quantity("0.5Gi"))
        #expect(half == Quantity("512Mi") && half < Quantity(1 << 30))
        #expect((half + half).description == "1Gi")
        #expect((Quantity(milli: 1500) - Quantity(milli: 500)).description == "1")
        #expect((Quantity.zero + half).description == "512Mi")
        #expect((-half).description == "-512Mi")
        #expect(Quantity("1500m")?.value == 2 && Quantity("-1500m")?.value == -1)
        #expect(Quantity("100u")?.milliValue == 1 && Quantity("1.5")?.milliValue == 1500)
        #expect(Quantity("1500u")?.roundedToMilli.description == "2m")
        #expect(Quantity(json: 3)?.description == "3" && Quantity(json: 0.5)?.description == "500m")
        #expect(Quantity(json: true) == nil)
    }

    @Test("amounts beyond all bounds are cut, not wrapped") func bounds() throws {
        let huge = try #require(Quantity("1e9999"))
        #expect(huge + huge == huge && huge.value == .max && huge.milliValue == .max)
        #expect(Quantity("-1e9999")?.value == .min)
        #expect(Quantity("999Ei")?.value == .max)
        #expect(Quantity("1e-9999")?.description == "1e-9")
        #expect(Quantity(String(repeating: "9", count: 64))?.value == .max)
        #expect(Quantity(String(repeating: "9", count: 65)) == nil)
    }

    @Test("random amounts survive their text") func roundTrip() throws {
        var seed: UInt64 = 0x5EED
        for _ in 0..<5000 {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let number = Int64(bitPattern: seed) >> Int64(seed >> 58)
            let suffix = ["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "e2", "e-5"][Int(seed >> 33) % 11]
            let text = "\(number)\(suffix)"
            let quantity = try #require(Quantity(text), "\(text)")
            #expect(Quantity(quantity.description) == quantity, "\(text)")
        }
    }
}
