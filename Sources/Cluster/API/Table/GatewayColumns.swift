import JSON

/// The kinds of gateway.networking.k8s.io, with the columns that their custom resources print upstream.
extension KindColumns {
    static let gateway: [String: [TableColumn]] = [
        "gateway.networking.k8s.io/GatewayClass": [
            .name, .text("Controller", at: "spec", "controllerName"), condition("Accepted"), .age,
            .text("Description", at: "spec", "description").wide,
        ],
        "gateway.networking.k8s.io/Gateway": [
            .name, .text("Class", at: "spec", "gatewayClassName"),
            .text("Address") { $0.object.list("status", "addresses").first?.text("value") ?? "" },
            condition("Programmed"), .age,
        ],
        "gateway.networking.k8s.io/ListenerSet": [.name, condition("Accepted"), condition("Programmed"), .age],
        "gateway.networking.k8s.io/HTTPRoute": [.name, hostnames, .age],
        "gateway.networking.k8s.io/GRPCRoute": [.name, hostnames, .age],
        "gateway.networking.k8s.io/TLSRoute": [.name, .age],
        "gateway.networking.k8s.io/TCPRoute": [.name, .age],
        "gateway.networking.k8s.io/UDPRoute": [.name, .age],
        "gateway.networking.k8s.io/ReferenceGrant": [.name, .age],
        "gateway.networking.k8s.io/BackendTLSPolicy": [.name, .age],
    ]

    /// As a custom resource's column shows a list: its JSON.
    private static let hostnames = TableColumn.text("Hostnames") { source in
        source.object[path: "spec", "hostnames"].map { String(describing: $0) } ?? ""
    }

    private static func condition(_ type: String) -> TableColumn {
        .text(type) { source in
            source.object.list("status", "conditions").first { $0.text("type") == type }?.text("status") ?? ""
        }
    }
}
