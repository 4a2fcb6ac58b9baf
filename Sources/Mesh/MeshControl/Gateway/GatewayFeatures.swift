/// The features of the Gateway API that gateways and the mesh have, as upstream names them (`pkg/features`).
enum GatewayFeatures {
    static let supported: [String] = gateways + httpRoutes + otherRoutes + mesh

    private static let gateways = [
        "Gateway", "ReferenceGrant", "GatewayPort8080", "GatewayStaticAddresses", "GatewayHTTPListenerIsolation",
        "GatewayHTTPSListenerDetectMisdirectedRequests", "GatewayInfrastructurePropagation", "GatewayAddressEmpty",
        "ListenerSet",
        "GatewayBackendClientCertificate", "GatewayFrontendClientCertificateValidation",
        "GatewayFrontendClientCertificateValidationInsecureFallback", "BackendTLSPolicy",
        "BackendTLSPolicySANValidation",
    ]
    private static let httpRoutes =
        ["HTTPRoute"]
        + [
            "DestinationPortMatching", "BackendRequestHeaderModification", "QueryParamMatching", "MethodMatching",
            "ResponseHeaderModification", "PortRedirect", "SchemeRedirect", "PathRedirect", "HostRewrite",
            "PathRewrite", "RequestMirror", "RequestMultipleMirrors", "RequestPercentageMirror", "RequestTimeout",
            "BackendTimeout", "ParentRefPort", "BackendProtocolH2C", "BackendProtocolWebSocket", "NamedRouteRule",
            "CORS", "303RedirectStatusCode", "307RedirectStatusCode", "308RedirectStatusCode", "Retry",
            "RetryBackendTimeout", "RetryConnectionError", "BackendURLRewrite", "BackendRequestRedirect",
        ].map { "HTTPRoute\($0)" }
    private static let otherRoutes = [
        "GRPCRoute", "GRPCRouteNamedRouteRule", "GRPCRouteRequestHeaderModifier", "TLSRoute", "TLSRouteModeTerminate",
        "TLSRouteModeMixed", "TCPRoute",
    ]
    private static let mesh =
        ["Mesh", "MeshClusterIPMatching", "MeshConsumerRoute"]
        + [
            "RewritePath", "SchemeRedirect", "RedirectPort", "RedirectPath", "BackendRequestHeaderModification",
            "QueryParamMatching", "NamedRouteRule",
        ].map { "MeshHTTPRoute\($0)" }
}
