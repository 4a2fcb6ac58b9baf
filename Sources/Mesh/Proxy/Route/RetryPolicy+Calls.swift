import XDS

extension RetryPolicy {
    /// A `core.v3.RetryPolicy`, of requests that the proxy itself makes.
    ///
    /// - Parameter standard: what is tried again where the policy does not say.
    convenience init(calls node: ConfigNode, standard: Conditions = []) throws(ConfigError) {
        var options = Options()
        options.retries = node.uint32("num_retries", default: 1)
        let backOff = node.message("retry_back_off")
        options.baseInterval = max(backOff?.nanoseconds("base_interval") ?? 1_000_000_000, 1_000_000)
        options.maximumInterval =
            backOff?.nanoseconds("max_interval") ?? options.baseInterval.multipliedClamped(by: 10)
        guard options.maximumInterval >= options.baseInterval else {
            throw node.error("retry_back_off", "max_interval must be greater than or equal to the base_interval")
        }
        // A try may take as long as the longest wait for the next, as in Envoy.
        options.perTryTimeout = options.maximumInterval
        var retryOn = node.string("retry_on")
        let said = retryOn.withUTF8 { Conditions(UnsafeRawBufferPointer($0)) }
        self.init(retryOn.isEmpty ? standard : said, options)
    }
}
