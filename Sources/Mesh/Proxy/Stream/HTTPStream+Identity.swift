// What matchers ask of a stream besides its header fields.
extension HTTPStream {
    /// The cluster that the request goes to, or would go to by its route; nil where there is none.
    var clusterName: String? {
        if let cluster { return cluster.snapshot.name }
        guard case .forward(let action)? = route?.action, let id = clusterID(action.choice) else { return nil }
        return worker.cluster(id)?.snapshot.name
    }

    /// Uniform over all of its values; the same for a stream however often it is asked (the finaliser of SplitMix64 over the
    /// stream's number).
    var random: UInt64 {
        var value = id &* 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
