extension RuntimeFraction {
    /// Decides for one occasion: two fractions that are asked about one request are independent of each other.
    @inline(__always)
    func happens(_ worker: ProxyWorker) -> Bool {
        guard key == nil else { return holds(worker.random.next()) }
        return numerator >= denominator || numerator > 0 && holds(worker.random.next())
    }
}
