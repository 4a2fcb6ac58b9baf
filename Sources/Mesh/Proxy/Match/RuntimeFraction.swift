import XDS

/// The part of requests that something holds for (`core.v3.RuntimeFractionalPercent`).
struct RuntimeFraction: Hashable, Sendable {
    var numerator: UInt32
    var denominator: UInt32
    /// A runtime layer may say another part, in a hundred.
    var key: RuntimeKey?

    static let always = RuntimeFraction(numerator: 100, denominator: 100)

    init(numerator: UInt32, denominator: UInt32, key: RuntimeKey? = nil) {
        (self.numerator, self.denominator, self.key) = (numerator, denominator, key)
    }

    /// - Parameter random: uniform over all of its values; the same for a stream however often it is asked.
    @inline(__always)
    func holds(_ random: UInt64) -> Bool {
        if let key, let part = key.value { return Int64(random % 100) < part }
        return random % UInt64(denominator) < UInt64(numerator)
    }
}

extension RuntimeFraction {
    init(_ node: ConfigNode) throws(ConfigError) {
        guard var fraction = try node.message("default_value", RuntimeFraction.init(percent:)) else {
            throw node.error("default_value", "is missing")
        }
        fraction.key = RuntimeKey.named(node.string("runtime_key"))
        self = fraction
    }

    /// An `envoy.type.v3.FractionalPercent`.
    init(percent node: ConfigNode) throws(ConfigError) {
        let denominator: UInt32 =
            switch try node.enumeration("denominator", as: Denominator.self) {
            case .hundred: 100
            case .tenThousand: 10_000
            case .million: 1_000_000
            }
        self.init(numerator: node.uint32("numerator"), denominator: denominator)
    }

    private enum Denominator: String, ConfigEnum {
        case hundred = "HUNDRED"
        case tenThousand = "TEN_THOUSAND"
        case million = "MILLION"
    }
}
