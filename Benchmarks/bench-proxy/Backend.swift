import Glibc
import Reactor

/// The nginx behind every proxy: 1 KB from memory, 1 MB from a file.
enum Backend {
    static func start(_ folder: String, _ port: UInt16, on loop: EventLoop) async throws -> RunningProcess {
        try Files.makeDirectories("\(folder)/files")
        try Files.writeAtomically("\(folder)/files/1k", String(repeating: "k", count: 1024))
        try Files.writeAtomically("\(folder)/files/1m", String(repeating: "m", count: 1 << 20))
        let file = "\(folder)/backend.conf"
        try Files.writeAtomically(
            file,
            """
            daemon off; master_process off; worker_processes 1; pid \(folder)/backend.pid; worker_rlimit_nofile 20000;
            events { worker_connections 20000; multi_accept on; }
            http {
              access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on; sendfile on;
              open_file_cache max=10; default_type text/plain; root \(folder)/files;
              client_body_temp_path \(folder)/f; proxy_temp_path \(folder)/g; fastcgi_temp_path \(folder)/h;
              uwsgi_temp_path \(folder)/i; scgi_temp_path \(folder)/j;
              server { listen 127.0.0.1:\(port) backlog=8192; location = /post { return 200 "posted"; } }
            }
            """)
        return try await RunningProcess.start(
            ["nginx", "-c", file, "-e", "\(folder)/backend-error.log"], port: port, folder: folder, name: "backend",
            on: loop)
    }

    /// A P-256 key and certificate: what most who can choose use.
    static func makeCertificate(_ folder: String, on loop: EventLoop) async throws {
        let script = """
            cd \(folder) && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key \
            -out server.pem -days 3650 -subj /CN=bench.test && cat server.pem server.key > both.pem
            """
        let output = try await ChildProcess.run(.init(["sh", "-c", script]), on: loop)
        guard output.status.isSuccess else { throw OptionError("openssl: \(output.errorText)") }
    }
}
