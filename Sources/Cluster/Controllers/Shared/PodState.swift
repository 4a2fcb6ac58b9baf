import Bytes
import ClusterAPI
import JSON

/// What controllers ask of a pod. Pure readings of the object.
extension KubeObject {
    var phase: String { status["phase"]?.string ?? "Pending" }

    /// Ended for good: its containers will not run again.
    var isTerminal: Bool { phase == "Succeeded" || phase == "Failed" }

    /// Counts toward what a workload wants: neither ended nor being deleted.
    var isActivePod: Bool { !isTerminal && !isTerminating }

    func condition(_ type: String) -> JSONValue? {
        status["conditions"]?.array?.first { $0["type"]?.string == type }
    }

    func hasCondition(_ type: String) -> Bool { condition(type)?["status"]?.string == "True" }

    var isReadyPod: Bool { hasCondition("Ready") }

    /// Ready for at least `minReadySeconds`; with 0, as soon as it is ready.
    func isAvailablePod(minReadySeconds: Int64, now: Timestamp) -> Bool {
        guard let ready = condition("Ready"), ready["status"]?.string == "True" else { return false }
        guard minReadySeconds > 0 else { return true }
        guard let since = ready["lastTransitionTime"]?.string.flatMap(Timestamp.init(rfc3339:)) else { return false }
        return since.seconds + minReadySeconds <= now.seconds
    }
}

/// The status of a condition. Most are told by a Bool.
enum ConditionStatus: String, ExpressibleByBooleanLiteral {
    case holds = "True"
    case fails = "False"
    case unknown = "Unknown"

    init(booleanLiteral value: Bool) { self.init(value) }
    init(_ value: Bool) { self = value ? .holds : .fails }
}

/// Sets a condition in a list of them; `lastTransitionTime` moves only when the status does.
///
/// - Returns: the list with the condition in its old place, or at the end.
func settingCondition(
    _ conditions: [JSONValue], _ type: String, _ status: ConditionStatus, reason: String, message: String,
    now: Timestamp,
    updateTimeField: String? = nil
) -> [JSONValue] {
    var result = conditions
    let text = status.rawValue
    let index = result.firstIndex { $0["type"]?.string == type }
    var condition: JSONValue = index.map { result[$0] } ?? ["type": .string(type)]
    let isSame =
        condition["status"]?.string == text && condition["reason"]?.string == reason
        && condition["message"]?.string == message
    if isSame { return conditions }
    if condition["status"]?.string != text { condition["lastTransitionTime"] = .string(now.rfc3339) }
    if let updateTimeField { condition[updateTimeField] = .string(now.rfc3339) }
    condition["status"] = .string(text)
    condition["reason"] = .string(reason)
    condition["message"] = .string(message)
    if let index { result[index] = condition } else { result.append(condition) }
    return result
}

/// An `IntOrString` of a rolling update: a count, or a percentage of `total`.
func resolvedCount(_ value: JSONValue?, of total: Int, roundUp: Bool, default fallback: Int) -> Int {
    guard let value else { return fallback }
    if let count = value.int { return max(0, Int(clamping: count)) }
    guard let text = value.string, text.hasSuffix("%"), let percent = Int(text.dropLast()), percent >= 0 else {
        return fallback
    }
    let (product, overflow) = percent.multipliedReportingOverflow(by: total)
    guard !overflow else { return total }
    return roundUp ? (product + 99) / 100 : product / 100
}
