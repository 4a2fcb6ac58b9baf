import Bytes
import JSON

/// The pages that tell of the process.
enum ServerInfoPage {
    static let version = "0.1.0/weft-proxy/Clean/RELEASE/OpenSSL"

    static func memory() -> AdminAnswer {
        let memory = ProcessMemory.now()
        let page: JSONValue = [
            "allocated": .string("\(memory.allocated)"), "heap_size": .string("\(memory.heap)"),
            "pageheap_unmapped": "0", "pageheap_free": .string("\(memory.free)"), "total_thread_cache": "0",
            "total_physical_bytes": .string("\(memory.resident)"),
        ]
        return .json(page.pretty() + "\n")
    }
}

extension AdminServer {
    func serverInfo() async -> AdminAnswer {
        let uptime = await server.uptime
        let age = JSONValue.string("\(uptime.components.seconds)s")
        let page: JSONValue = [
            "version": .string(ServerInfoPage.version), "state": .string(await server.state.rawValue),
            "uptime_current_epoch": age, "uptime_all_epochs": age, "hot_restart_version": "disabled",
            "command_line_options": server.options.commandLine(concurrency: server.workers.count),
            "node": await server.node,
        ]
        return .json(page.pretty() + "\n")
    }

    func initDump() async -> AdminAnswer {
        guard await server.state == .initializing else { return .json("{}\n") }
        return .json(
            "{\n \"unready_targets_dumps\": [{\"name\": \"bootstrap\", \"target_names\": [\"resources\"]}]\n}\n")
    }

    func listeners(_ request: AdminRequest) async -> AdminAnswer {
        let bound = await server.boundListeners()
        guard request["format"] == "json" else {
            return AdminAnswer(bound.map { "\($0.name)::\($0.addresses[0])\n" }.joined())
        }
        let statuses = bound.map { listener -> JSONValue in
            var status: JSONObject = ["name": .string(listener.name), "local_address": listener.addresses[0].envoyJSON]
            if listener.addresses.count > 1 {
                status["additional_local_addresses"] = .array(listener.addresses.dropFirst().map(\.envoyJSON))
            }
            return .object(status)
        }
        return .json(JSONValue.object(["listener_statuses": .array(statuses)]).pretty() + "\n")
    }

    func certificates() async -> AdminAnswer {
        .json(JSONValue.object(["certificates": .array(await server.certificates())]).pretty() + "\n")
    }
}

extension SocketAddress {
    /// As `envoy.config.core.v3.Address`.
    var envoyJSON: JSONValue {
        switch self {
        case .ip(let address, let port, _):
            [
                "socket_address": [
                    "address": .string("\(address)"), "port_value": .int(Int64(port.rawValue)),
                ]
            ]
        case .unix(let path): ["pipe": ["path": .string(path)]]
        case .abstract(let name): ["pipe": ["path": .string("@" + name)]]
        case .netlink: [:]
        }
    }
}
