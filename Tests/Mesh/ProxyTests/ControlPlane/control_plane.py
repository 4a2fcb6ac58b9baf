"""A control plane of grpcio and xds-protos, told by a test what to say, well or badly.

    control_plane.py PORTS-FILE

writes three ports into the file: of the xDS server, of a relay before it, and of the control connection. That takes commands and
tells events, a JSON object a line each.

Commands: {"op": "set", "type", "version", "resources", "named"}   the world of one kind; all streams hear of it, of the names of
                                                          "named" those that asked for them
          {"op": "auto", "on"}                            whether requests are answered from the world
          {"op": "send", "response", "stream"}            this response (proto JSON), as it is
          {"op": "bytes", "hex", "stream"}                these bytes as a message
          {"op": "end", "code", "details", "stream"}      the stream ends with this status
          {"op": "relay", "mode": "pass"|"stall"|"cut", "after"}   so many bytes to the client, then silence or a reset
A stream is known by its number; without one, all are meant.

Events:   {"event": "ready"|"open"|"close"|"request", ...}; a request says its stream, node, kind, nonce, version, names and error.
"""

import hashlib
import json
import queue
import socket
import struct
import sys
import threading
from concurrent import futures

import grpc
from envoy.admin.v3 import config_dump_pb2  # noqa: F401 (registers what Any may hold)
from envoy.config.cluster.v3 import cluster_pb2  # noqa: F401
from envoy.config.endpoint.v3 import endpoint_pb2  # noqa: F401
from envoy.config.listener.v3 import listener_pb2  # noqa: F401
from envoy.config.route.v3 import route_pb2  # noqa: F401
from envoy.extensions.filters.http.fault.v3 import fault_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2  # noqa: F401
from envoy.extensions.filters.network.direct_response.v3 import config_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format

PREFIX = "type.googleapis.com/"
# Kinds of which a response is always the whole world.
COMPLETE = ("envoy.config.cluster.v3.Cluster", "envoy.config.listener.v3.Listener")


class Control:
    """The test's connection."""

    def __init__(self, sock):
        # Two files: one that is read and written by two threads at once loses words.
        self.commands = sock.makefile("r", encoding="utf-8", newline="\n")
        self.file = sock.makefile("w", encoding="utf-8", newline="\n")
        self.lock = threading.Lock()

    def tell(self, **event):
        with self.lock:
            self.file.write(json.dumps(event) + "\n")
            self.file.flush()


class World:
    """What there is: by kind a version, and by name each resource with its own version."""

    def __init__(self):
        self.kinds = {}
        self.named = {}
        self.auto = True

    def set(self, kind, version, resources, named):
        self.named[kind] = set(named)
        found = {}
        for resource in resources:
            packed = any_pb2.Any()
            json_format.ParseDict(resource, packed)
            name = resource.get("name") or resource.get("cluster_name") or resource.get("clusterName")
            found[name] = (packed, hashlib.sha1(packed.value).hexdigest()[:8])
        self.kinds[kind] = (version, found)

    def of(self, kind):
        return self.kinds.get(kind, ("", {}))


class Kind:
    """What one stream knows of one kind."""

    def __init__(self):
        self.names = None
        self.wildcard = False
        self.nonce = ""
        self.sent = {}
        self.version = None


class Stream:
    def __init__(self, server, number, delta):
        self.server, self.number, self.delta = server, number, delta
        self.out = queue.Queue()
        self.kinds = {}
        self.nonces = 0
        self.node = ""
        self.lock = threading.Lock()

    def nonce(self):
        self.nonces += 1
        return f"{self.number}.{self.nonces}"

    def request(self, request):
        kind = request.type_url.removeprefix(PREFIX)
        names_node = request.HasField("node")
        if names_node:
            self.node = request.node.id
        event = {
            "stream": self.number, "node": self.node, "names_node": names_node, "kind": kind,
            "nonce": request.response_nonce, "error": request.error_detail.message,
            "code": request.error_detail.code,
        }
        if self.delta:
            event |= {
                "names": sorted(request.resource_names_subscribe),
                "dropped": sorted(request.resource_names_unsubscribe),
                "held": dict(request.initial_resource_versions),
            }
        else:
            event |= {"names": list(request.resource_names), "version": request.version_info}
        if names_node:
            event["node_json"] = json_format.MessageToDict(request.node, preserving_proto_field_name=True)
        self.server.control.tell(event="request", **event)
        if self.server.world.auto:
            with self.lock:
                self.answer(kind, request)

    def answer(self, kind, request):
        known = self.kinds.setdefault(kind, Kind())
        if self.delta:
            subscribe, unsubscribe = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
            first = known.names is None
            if first:
                known.names = set()
                known.wildcard = not subscribe
                known.sent = dict(request.initial_resource_versions)
            if "*" in subscribe:
                known.wildcard = True
            known.names = (known.names | subscribe) - unsubscribe - {"*"}
            for name in unsubscribe:
                known.sent.pop(name, None)
            # With all still asked for, the client must be told whether it keeps what it named.
            asked = subscribe | unsubscribe if known.wildcard else subscribe
            if first or asked:
                self.push_delta(kind, known, asked - {"*"}, answers=first)
            return
        if request.response_nonce and request.response_nonce != known.nonce:
            return  # stale
        names = set(request.resource_names)
        changed = known.names is None or names != known.names
        known.wildcard = not names if known.names is None else known.wildcard and not names
        known.names = names
        if not request.response_nonce or changed:
            self.push_sotw(kind, known)

    def push(self, kind):
        with self.lock:
            known = self.kinds.get(kind)
            if known and (self.delta or known.names is not None):
                self.push_delta(kind, known, set()) if self.delta else self.push_sotw(kind, known)

    def push_sotw(self, kind, known):
        version, resources = self.server.world.of(kind)
        if not version:
            return
        wanted = [v[0] for n, v in resources.items() if known.wildcard or n in known.names]
        if not wanted and kind not in COMPLETE:
            return
        known.nonce = self.nonce()
        self.send(discovery_pb2.DiscoveryResponse(
            version_info=version, type_url=PREFIX + kind, nonce=known.nonce, resources=wanted,
            control_plane={"identifier": "grpcio"}))

    def push_delta(self, kind, known, asked, answers=False):
        version, resources = self.server.world.of(kind)
        if not version:
            return
        response = discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=version, type_url=PREFIX + kind, control_plane={"identifier": "grpcio"})
        named = self.server.world.named.get(kind, set())
        seen = {n for n in resources if known.wildcard and n not in named or n in known.names}
        for name, (packed, own) in resources.items():
            wanted = name in seen
            if wanted and (name in asked or known.sent.get(name) != own):
                response.resources.add(name=name, version=own, resource=packed)
                known.sent[name] = own
        for name in sorted((set(known.sent) | asked) - seen):
            response.removed_resources.append(name)
            known.sent.pop(name, None)
        if response.resources or response.removed_resources or answers:
            known.nonce = response.nonce = self.nonce()
            self.send(response)

    def send(self, response):
        self.out.put(response.SerializeToString())


class Server(grpc.GenericRpcHandler):
    def __init__(self, control):
        self.control = control
        self.world = World()
        self.streams = {}
        self.count = 0
        self.lock = threading.Lock()

    def service(self, details):
        delta = details.method.rsplit("/", 1)[-1].startswith("Delta")
        kind = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self.run(requests, context, delta, details.method),
            request_deserializer=kind.FromString, response_serializer=lambda data: data)

    def run(self, requests, context, delta, method):
        with self.lock:
            self.count += 1
            stream = Stream(self, self.count, delta)
            self.streams[stream.number] = stream
        metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self.control.tell(event="open", stream=stream.number, method=method, metadata=metadata)

        def read():
            try:
                for request in requests:
                    stream.request(request)
            except Exception:  # the stream has ended
                pass
            stream.out.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while True:
                data = stream.out.get()
                if data is None:
                    return
                if isinstance(data, tuple):
                    if data[0]:
                        context.abort(data[0], data[1])
                    return
                yield data
        finally:
            self.streams.pop(stream.number, None)
            self.control.tell(event="close", stream=stream.number)

    def meant(self, command):
        number = command.get("stream")
        return [s for n, s in sorted(self.streams.items()) if number is None or n == number]

    def command(self, command, relay):
        op = command["op"]
        if op == "set":
            self.world.set(command["type"], command["version"], command["resources"], command.get("named", []))
            if self.world.auto:
                for stream in self.meant({}):
                    stream.push(command["type"])
        elif op == "auto":
            self.world.auto = command["on"]
        elif op == "send":
            for stream in self.meant(command):
                kind = discovery_pb2.DeltaDiscoveryResponse if stream.delta else discovery_pb2.DiscoveryResponse
                stream.send(json_format.ParseDict(command["response"], kind()))
        elif op == "bytes":
            for stream in self.meant(command):
                stream.out.put(bytes.fromhex(command["hex"]) + bytes(command.get("zeros", 0)))
        elif op == "end":
            codes = {c.value[0]: c for c in grpc.StatusCode}
            code = command.get("code", 0)
            for stream in self.meant(command):
                stream.out.put((codes[code] if code else None, command.get("details", "")))
        elif op == "relay":
            relay.set(command["mode"], command.get("after", 0))
        self.control.tell(event="done", op=op)


class Relay:
    """Passes bytes on, until told otherwise."""

    def __init__(self, port):
        self.port = port
        self.mode, self.left = "pass", 0
        self.pairs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, mode, after):
        with self.lock:
            self.mode, self.left = mode, after
            if mode == "pass":
                # What was held back is lost: those connections end.
                for pair in self.pairs:
                    for sock in pair:
                        self.kill(sock)
                self.pairs = []

    @staticmethod
    def kill(sock):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            with self.lock:
                self.pairs.append((client, server))
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, sink, counts):
        try:
            while data := source.recv(65536):
                cut = False
                if counts:
                    with self.lock:
                        if self.mode != "pass":
                            data = data[:self.left]
                            self.left -= len(data)
                            cut = self.mode == "cut" and self.left == 0
                if data:
                    sink.sendall(data)
                if cut:
                    break
        except OSError:
            pass
        self.kill(source)
        self.kill(sink)


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    pool = futures.ThreadPoolExecutor(max_workers=64)
    server = grpc.server(pool, options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)])
    handler = Server(None)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    relay = Relay(port)
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(f"{port} {relay.listener.getsockname()[1]} {listener.getsockname()[1]}")
    import os
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    sock, _ = listener.accept()
    handler.control = Control(sock)
    server.start()
    handler.control.tell(event="ready")
    for line in handler.control.commands:
        handler.command(json.loads(line), relay)
    os._exit(0)


main()
