/// Outlier detection as a cluster configures it, with Envoy's defaults.
struct OutlierConfig: Hashable, Sendable {
    var consecutive5xx: UInt32 = 5
    var consecutiveGatewayFailure: UInt32 = 5
    var consecutiveLocalOriginFailure: UInt32 = 5
    /// How often success rates are looked at, and hosts let back.
    var interval = Duration.seconds(10)
    /// Times how often a host was ejected of late, until `maxEjectionTime`.
    var baseEjectionTime = Duration.seconds(30)
    /// At least `baseEjectionTime`, which it is when that is longer than the default of 300 s.
    var maxEjectionTime = Duration.seconds(300)
    /// Added to an ejection at random.
    var maxEjectionTimeJitter = Duration.zero
    /// Of a cluster's hosts, above which no more are ejected. With few hosts that may be none: see `alwaysEjectsOneHost`.
    var maxEjectionPercent: UInt32 = 10
    var alwaysEjectsOneHost = false

    // Chances in percent that what was detected is acted on.
    var enforcingConsecutive5xx: UInt32 = 100
    var enforcingConsecutiveGatewayFailure: UInt32 = 0
    var enforcingConsecutiveLocalOriginFailure: UInt32 = 100
    var enforcingSuccessRate: UInt32 = 100
    var enforcingLocalOriginSuccessRate: UInt32 = 100
    var enforcingFailurePercentage: UInt32 = 0
    var enforcingFailurePercentageLocalOrigin: UInt32 = 0

    /// So many hosts must have had `successRateRequestVolume` requests in an interval before one is compared with the others.
    var successRateMinimumHosts = 5
    var successRateRequestVolume: UInt32 = 100
    /// In 1/1000: a host is ejected below the mean less so many standard deviations.
    var successRateStdevFactor: UInt32 = 1900
    var failurePercentageThreshold: UInt32 = 85
    var failurePercentageMinimumHosts = 5
    var failurePercentageRequestVolume: UInt32 = 50

    /// Failures to connect and time-outs count apart from what hosts answer.
    var splitsLocalOriginErrors = false
    /// An active health check that succeeds lets an ejected host back at once.
    var successfulCheckUnejects = true

    func validate() throws(BalanceConfigError) {
        guard maxEjectionTime >= baseEjectionTime else {
            throw BalanceConfigError("outlier_detection: max_ejection_time cannot be smaller than base_ejection_time")
        }
        guard interval > .zero else { throw BalanceConfigError("outlier_detection: interval must be above 0") }
        for (name, percent) in [
            ("max_ejection_percent", maxEjectionPercent), ("enforcing_consecutive_5xx", enforcingConsecutive5xx),
            ("enforcing_consecutive_gateway_failure", enforcingConsecutiveGatewayFailure),
            ("enforcing_consecutive_local_origin_failure", enforcingConsecutiveLocalOriginFailure),
            ("enforcing_success_rate", enforcingSuccessRate),
            ("enforcing_local_origin_success_rate", enforcingLocalOriginSuccessRate),
            ("enforcing_failure_percentage", enforcingFailurePercentage),
            ("enforcing_failure_percentage_local_origin", enforcingFailurePercentageLocalOrigin),
            ("failure_percentage_threshold", failurePercentageThreshold),
        ] where percent > 100 {
            throw BalanceConfigError("outlier_detection: \(name) must be at most 100, and is \(percent)")
        }
    }
}

/// Why a host is an outlier.
enum OutlierReason: Int, CaseIterable, Sendable {
    case consecutive5xx, consecutiveGatewayFailure, consecutiveLocalOriginFailure
    case successRate, localOriginSuccessRate, failurePercentage, localOriginFailurePercentage

    /// As in `outlier_detection.ejections_enforced_…` and `…_detected_…`.
    var statName: String {
        switch self {
        case .consecutive5xx: "consecutive_5xx"
        case .consecutiveGatewayFailure: "consecutive_gateway_failure"
        case .consecutiveLocalOriginFailure: "consecutive_local_origin_failure"
        case .successRate: "success_rate"
        case .localOriginSuccessRate: "local_origin_success_rate"
        case .failurePercentage: "failure_percentage"
        case .localOriginFailurePercentage: "local_origin_failure_percentage"
        }
    }

    /// As in the event log (`data.cluster.v3.OutlierEjectionType`).
    var eventName: String {
        switch self {
        case .consecutive5xx: "CONSECUTIVE_5XX"
        case .consecutiveGatewayFailure: "CONSECUTIVE_GATEWAY_FAILURE"
        case .consecutiveLocalOriginFailure: "CONSECUTIVE_LOCAL_ORIGIN_FAILURE"
        case .successRate: "SUCCESS_RATE"
        case .localOriginSuccessRate: "SUCCESS_RATE_LOCAL_ORIGIN"
        case .failurePercentage: "FAILURE_PERCENTAGE"
        case .localOriginFailurePercentage: "FAILURE_PERCENTAGE_LOCAL_ORIGIN"
        }
    }
}

extension OutlierConfig {
    func enforcing(_ reason: OutlierReason) -> UInt32 {
        switch reason {
        case .consecutive5xx: enforcingConsecutive5xx
        case .consecutiveGatewayFailure: enforcingConsecutiveGatewayFailure
        case .consecutiveLocalOriginFailure: enforcingConsecutiveLocalOriginFailure
        case .successRate: enforcingSuccessRate
        case .localOriginSuccessRate: enforcingLocalOriginSuccessRate
        case .failurePercentage: enforcingFailurePercentage
        case .localOriginFailurePercentage: enforcingFailurePercentageLocalOrigin
        }
    }
}
