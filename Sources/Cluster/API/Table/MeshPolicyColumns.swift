import JSON

/// The kinds of security.istio.io, with the columns that their custom resources print upstream.
extension KindColumns {
    static let meshPolicy: [String: [TableColumn]] = [
        "security.istio.io/PeerAuthentication": [.name, .text("Mode", at: "spec", "mtls", "mode"), .age],
        "security.istio.io/RequestAuthentication": [.name, .age],
        "security.istio.io/AuthorizationPolicy": [.name, .text("Action", at: "spec", "action"), .age],
    ]
}
