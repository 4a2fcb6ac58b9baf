/// Who is compared.
enum Contestant: String, CaseIterable, Sendable {
    case weft, envoy, haproxy, nginx

    /// The program and its arguments for a configuration file.
    func command(_ path: String, _ file: String, _ folder: String) -> [String] {
        switch self {
        case .weft: [path, "-c", file, "--concurrency", "1"]
        case .envoy: [path, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "critical"]
        case .haproxy: [path, "-q", "-db", "-f", file]
        case .nginx: [path, "-c", file, "-e", "\(folder)/error.log"]
        }
    }

    /// What it is told for a job. weft-proxy and Envoy are told the same.
    func config(_ job: Job) -> String {
        switch self {
        case .weft, .envoy: EnvoyConfig.text(job)
        case .haproxy: HAProxyConfig.text(job)
        case .nginx: NginxConfig.text(job)
        }
    }
}

/// What a proxy is configured to do: one listener on loopback, in front of one backend or of many clusters.
struct Job: Sendable {
    enum Face: Sendable {
        case http, http2, tls
        /// TLS without tickets and session cache: every handshake is a whole one.
        case tlsWithoutResumption
        case tcp
    }

    var face = Face.http
    var port: UInt16 = 0
    var backend: UInt16 = 0
    /// Clusters of ten endpoints, each with a host name of its own, beside the backend.
    var clusters = 0
    /// Where pid files, keys (`server.pem`, `server.key`, `both.pem`) and logs are.
    var folder = ""

    var isTLS: Bool { face == .tls || face == .tlsWithoutResumption }

    /// The ten endpoints of cluster `index`.
    static func endpoints(_ index: Int) -> [String] { (0..<10).map { "10.\(index / 250).\(index % 250).\($0 + 1)" } }
}

enum EnvoyConfig {
    static func text(_ job: Job) -> String {
        """
        {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
         "static_resources": {
          "listeners": [{
            "name": "bench", "address": {"socket_address": {"address": "127.0.0.1", "port_value": \(job.port)}},
            "filter_chains": [{\(transportSocket(job))"filters": [\(job.face == .tcp ? tcp : http(job))]}]}],
          "clusters": [\(([backend(job)] + (0..<job.clusters).map(cluster)).joined(separator: ",\n  "))]}}
        """
    }

    private static let types = "type.googleapis.com/envoy.extensions."

    private static func http(_ job: Job) -> String {
        let hosts = (0..<job.clusters).map {
            #"{"name": "svc-\#($0)", "domains": ["svc-\#($0).test"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "svc-\#($0)"}}]}"#
        }
        let all =
            #"{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]}"#
        return """
            {"name": "http", "typed_config": {
              "@type": "\(types)filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "bench",
              "codec_type": "\(job.face == .http2 ? "HTTP2" : "HTTP1")", "generate_request_id": false,
              "route_config": {"virtual_hosts": [\(([all] + hosts).joined(separator: ",\n  "))]},
              "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "\(types)filters.http.router.v3.Router"}}]}}
            """
    }

    private static let tcp =
        #"{"name": "tcp", "typed_config": {"@type": "\#(types)filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "bench", "cluster": "backend"}}"#

    private static func transportSocket(_ job: Job) -> String {
        guard job.isTLS else { return "" }
        let resumption =
            job.face == .tls
            ? "" : #""disable_stateless_session_resumption": true, "disable_stateful_session_resumption": true, "#
        return """
            "transport_socket": {"name": "tls", "typed_config": {
              "@type": "\(types)transport_sockets.tls.v3.DownstreamTlsContext", \(resumption)"common_tls_context": {"tls_certificates": [
                {"certificate_chain": {"filename": "\(job.folder)/server.pem"}, "private_key": {"filename": "\(job.folder)/server.key"}}]}}},

            """
    }

    private static func endpoint(_ address: String, _ port: Int) -> String {
        #"{"endpoint": {"address": {"socket_address": {"address": "\#(address)", "port_value": \#(port)}}}}"#
    }

    private static func backend(_ job: Job) -> String {
        #"{"name": "backend", "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [\#(endpoint("127.0.0.1", Int(job.backend)))]}]}}"#
    }

    private static func cluster(_ index: Int) -> String {
        let endpoints = Job.endpoints(index).map { endpoint($0, 8080) }.joined(separator: ", ")
        return
            #"{"name": "svc-\#(index)", "load_assignment": {"cluster_name": "svc-\#(index)", "endpoints": [{"lb_endpoints": [\#(endpoints)]}]}}"#
    }
}

enum HAProxyConfig {
    static func text(_ job: Job) -> String {
        let resumption =
            job.face == .tlsWithoutResumption ? "tune.ssl.cachesize 0\n  ssl-default-bind-options no-tls-tickets" : ""
        var bind = "bind 127.0.0.1:\(job.port)"
        if job.isTLS { bind += " ssl crt \(job.folder)/both.pem alpn http/1.1" }
        if job.face == .http2 { bind += " proto h2" }
        let rules = job.clusters > 0 ? "use_backend %[req.hdr(host),lower] if { req.hdr(host) -m end .test }" : ""
        let many = (0..<job.clusters).map { index in
            "backend svc-\(index).test\n"
                + Job.endpoints(index).enumerated().map { "  server s\($0.offset) \($0.element):8080\n" }.joined()
        }
        return """
            global
              nbthread 1
              maxconn 9500
              maxpipes 100
              \(resumption)
            defaults
              mode \(job.face == .tcp ? "tcp" : "http")
              \(job.face == .tcp ? "option splice-auto" : "http-reuse always")
              timeout connect 5s
              timeout client 600s
              timeout server 600s
              timeout http-keep-alive 600s
            frontend bench
              \(bind)
              \(rules)
              default_backend backend
            backend backend
              server nginx 127.0.0.1:\(job.backend)
            \(many.joined())
            """
    }
}

enum NginxConfig {
    static func text(_ job: Job) -> String {
        let head = """
            daemon off; master_process off; worker_processes 1; pid \(job.folder)/nginx.pid; worker_rlimit_nofile 20000;
            events { worker_connections 20000; multi_accept on; }

            """
        if job.face == .tcp {
            return "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" + head + """
                stream {
                  upstream backend { server 127.0.0.1:\(job.backend); }
                  server { listen 127.0.0.1:\(job.port) backlog=4096; proxy_pass backend; tcp_nodelay on; }
                }
                """
        }
        let many = (0..<job.clusters).map { index in
            "upstream svc-\(index) { \(Job.endpoints(index).map { "server \($0):8080; " }.joined())}\n"
                + "server { listen 127.0.0.1:\(job.port); server_name svc-\(index).test; location / { proxy_pass http://svc-\(index); } }\n"
        }
        let listen: String
        switch job.face {
        case .http2: listen = "http2"
        case .tls, .tlsWithoutResumption: listen = "ssl"
        default: listen = ""
        }
        let tls =
            job.isTLS
            ? "ssl_certificate \(job.folder)/server.pem; ssl_certificate_key \(job.folder)/server.key; "
                + (job.face == .tls
                    ? "ssl_session_cache shared:s:10m; " : "ssl_session_cache off; ssl_session_tickets off; ") : ""
        return head + """
            http {
              access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
              server_names_hash_max_size 65536; server_names_hash_bucket_size 64; variables_hash_max_size 2048;
              client_body_temp_path \(job.folder)/a; proxy_temp_path \(job.folder)/b; fastcgi_temp_path \(job.folder)/c;
              uwsgi_temp_path \(job.folder)/d; scgi_temp_path \(job.folder)/e;
              proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
              proxy_buffer_size 16k; proxy_buffers 64 16k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
              upstream backend { server 127.0.0.1:\(job.backend); keepalive 256; keepalive_requests 1000000000; }
              server { listen 127.0.0.1:\(job.port) \(listen) default_server backlog=4096; \(tls)location / { proxy_pass http://backend; } }
              \(many.joined())
            }
            """
    }
}
