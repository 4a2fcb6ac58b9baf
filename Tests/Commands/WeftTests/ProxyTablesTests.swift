import ClusterAPI
import JSON
import Testing

@testable import weft

@Suite("What proxies tell, as tables")
struct ProxyTablesTests {
    private static let tables = ProxyTables(
        dump: [
            "configs": [
                [
                    "dynamic_listeners": [
                        [
                            "name": "virtualInbound",
                            "active_state": [
                                "listener": [
                                    "name": "virtualInbound",
                                    "address": ["socket_address": ["address": "0.0.0.0", "port_value": 15006]],
                                    "filter_chains": [
                                        ["filters": [["typed_config": ["rds": ["route_config_name": "cart:80"]]]]],
                                        ["filters": [["typed_config": ["cluster": "PassthroughCluster"]]]],
                                    ],
                                ]
                            ],
                        ],
                        // It was refused, and nothing is there yet.
                        ["name": "broken"],
                    ]
                ],
                [
                    "dynamic_route_configs": [
                        [
                            "route_config": [
                                "name": "cart:80",
                                "virtual_hosts": [
                                    [
                                        "name": "cart", "domains": ["a", "b", "c", "d"],
                                        "routes": [
                                            [
                                                "match": [
                                                    "prefix": "/x/",
                                                    "headers": [
                                                        ["name": "tester", "string_match": ["exact": "yes"]]
                                                    ],
                                                ], "route": ["cluster": "outbound|80||cart-v2.shop.svc.cluster.local"],
                                            ],
                                            [
                                                "match": ["prefix": "/"],
                                                "route": [
                                                    "weighted_clusters": [
                                                        "clusters": [
                                                            ["name": "a", "weight": 90], ["name": "b", "weight": 10],
                                                        ]
                                                    ]
                                                ],
                                            ],
                                        ],
                                    ]
                                ],
                            ]
                        ]
                    ]
                ],
                [
                    "dynamic_active_clusters": [
                        [
                            "cluster": [
                                "name": "outbound|80||cart.shop.svc.cluster.local", "type": "EDS",
                                "transport_socket_matches": [["match": ["tlsMode": "weft"]]],
                            ]
                        ]
                    ]
                ],
                [
                    "dynamic_active_secrets": [
                        ["name": "default", "secret": ["name": "default", "tls_certificate": [:]]]
                    ]
                ],
                ["dynamic_warming_secrets": [["name": "ROOTCA"]]],
            ]
        ],
        clusters: [
            "cluster_statuses": [
                [
                    "name": "outbound|80||cart.shop.svc.cluster.local",
                    "host_statuses": [
                        [
                            "address": ["socket_address": ["address": "10.244.1.5", "port_value": 8080]],
                            "stats": [["name": "rq_total", "value": "12"], ["name": "rq_error"]],
                            "health_status": ["eds_health_status": "HEALTHY", "failed_outlier_check": true],
                        ],
                        [
                            "address": ["socket_address": ["address": "fd00::5", "port_value": 8080]],
                            "health_status": ["eds_health_status": "HEALTHY"],
                        ],
                    ],
                ]
            ]
        ], certificates: [:])

    private static func table(_ part: ProxyConfigCommand.Part) -> String {
        tables.table(part, containing: "", isWide: false).joined(separator: "\n")
    }

    @Test("listeners with where their chains lead; one that was refused is not there")
    func listeners() {
        #expect(
            Self.table(.listeners) == """
                NAME             ADDRESS   PORT    CHAINS   LEADS TO
                virtualInbound   0.0.0.0   15006   2        route cart:80, PassthroughCluster
                """)
    }

    @Test("routes in their order, clusters by their parts, endpoints with what stands against them")
    func others() {
        #expect(
            Self.table(.routes) == """
                TABLE     VIRTUAL HOST   MATCH             LEADS TO
                cart:80   cart           /x/* tester=yes   outbound|80||cart-v2.shop.svc.cluster.local
                cart:80   cart           /*                90 a, 10 b
                """)
        #expect(
            Self.table(.clusters).contains("cart.shop.svc.cluster.local   80     -        outbound    EDS    mutual"))
        #expect(
            Self.table(.endpoints) == """
                ENDPOINT          HEALTH    REQUESTS   ERRORS   CLUSTER
                10.244.1.5:8080   EJECTED   12         0        outbound|80||cart.shop.svc.cluster.local
                [fd00::5]:8080    HEALTHY   0          0        outbound|80||cart.shop.svc.cluster.local
                """)
        #expect(
            Self.tables.secrets.map { "\($0.name) \($0.state)" } == ["default ACTIVE", "ROOTCA WAITED FOR"])
    }

    @Test("levels of a log are read and asked for")
    func levels() throws {
        #expect(
            ProxyLogCommand.levels("active loggers:\n  admin: info\n  main: debug\n\n").map(\.1) == ["info", "debug"])
        #expect(try ProxyLogCommand.path(nil) == "/logging")
        #expect(try ProxyLogCommand.path("debug") == "/logging?level=debug")
        #expect(try ProxyLogCommand.path("a=debug,b:off") == "/logging?paths=a%3Adebug%2Cb%3Aoff")
    }

    @Test("a pod whose sidecar is not connected is told, and one that refused is not well")
    func status() {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-1")
        pod.json["status"] = ["phase": "Running"]
        let told: JSONValue = [
            "namespace": "shop", "pod": "cart-1", "kind": "sidecar",
            "resources": ["cds": ["status": "SYNCED"], "lds": ["status": "ERROR", "error": "no such filter"]],
        ]
        let report = ProxyReport([told], meshed: [pod])
        #expect(report.entries.map(\.name) == ["shop/cart-1", "shop/web-1"])
        #expect(!report.isWell)
        let lines = report.table(isWide: false)
        #expect(lines.contains { $0.hasPrefix("shop/web-1") && $0.contains("NOT CONNECTED") })
        #expect(lines.last == "shop/cart-1 refused lds: no such filter")
        #expect(ProxyReport([], meshed: []).isWell)
    }

    @Test(
        "a sidecar that learns of Services when they are called is known by its own listener, unless its node says no")
    func onDemand() {
        func tables(_ choice: JSONValue) -> ProxyTables {
            let listener: JSONValue = [
                "name": "virtualOutbound", "metadata": ["filter_metadata": ["weft.lds.on_demand": ["timeout": 1.5]]],
            ]
            return ProxyTables(
                dump: [
                    "configs": [
                        ["bootstrap": ["node": ["metadata": ["LISTENERS_ON_DEMAND": choice]]]],
                        ["dynamic_listeners": [["active_state": ["listener": listener]]]],
                    ]
                ], clusters: .null, certificates: .null)
        }
        #expect(tables(.null).asksForListeners && tables("true").asksForListeners)
        #expect(!tables("false").asksForListeners)
        #expect(!ProxyTables(dump: .null, clusters: .null, certificates: .null).asksForListeners)
    }
}
