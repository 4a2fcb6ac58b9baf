/// A statistic as it stands, all workers together.
package struct StatSample: Sendable {
    package enum Kind: Sendable { case counter, gauge }

    package var scope: StatScope
    /// The last part of the name: `upstream_rq_total`.
    package var leaf: String
    package var kind: Kind
    package var value: Int64
    /// Whether it was ever touched.
    package var isUsed: Bool

    package init(_ scope: StatScope, _ leaf: String, _ kind: Kind, _ value: Int64, isUsed: Bool? = nil) {
        self.scope = scope
        self.leaf = leaf
        self.kind = kind
        self.value = value
        self.isUsed = isUsed ?? (value != 0)
    }

    package var name: String { scope.prefix + leaf }
}

/// A distribution as it stands, all workers together.
package struct HistogramSample: Sendable {
    package var scope: StatScope
    package var leaf: String
    package var values: HistogramSnapshot

    package init(_ scope: StatScope, _ leaf: String, _ values: HistogramSnapshot) {
        self.scope = scope
        self.leaf = leaf
        self.values = values
    }

    package var name: String { scope.prefix + leaf }
}

/// All statistics of the proxy.
package struct StatReport: Sendable {
    package var samples: [StatSample] = []
    package var histograms: [HistogramSample] = []
    package var texts: [StatText] = []
    /// What Prometheus is told with all of them.
    var labels: [(name: String, value: String)] = []
    package init() {}

    mutating func counter(_ scope: StatScope, _ leaf: String, _ value: UInt64, isUsed: Bool? = nil) {
        samples.append(StatSample(scope, leaf, .counter, Int64(clamping: value), isUsed: isUsed))
    }

    mutating func gauge(_ scope: StatScope, _ leaf: String, _ value: Int64, isUsed: Bool? = nil) {
        samples.append(StatSample(scope, leaf, .gauge, value, isUsed: isUsed))
    }

    mutating func histogram(_ scope: StatScope, _ leaf: String, _ values: HistogramSnapshot) {
        histograms.append(HistogramSample(scope, leaf, values))
    }
}

/// A text that statistics tell (`TextReadout`).
package struct StatText: Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}
