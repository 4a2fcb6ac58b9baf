"""Two gRPC servers and a gRPC client that finds them by xDS; grpcio's own implementation of both.

    grpc_peer.py serve                     two servers; prints their ports on a line, and serves until its input ends
    grpc_peer.py call TARGET COUNT [K=V]   so many calls with these metadata; prints how often who answered as JSON

Each server answers any method with its name, `v1` or `v2`; an error counts under its status's name.
"""

import collections
import json
import sys
from concurrent import futures

import grpc


class Named(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name.encode()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.name)


def serve():
    servers = []
    for name in ("v1", "v2"):
        server = grpc.server(futures.ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers([Named(name)])
        servers.append((server, server.add_insecure_port("0.0.0.0:0")))
        server.start()
    print(*(port for _, port in servers), flush=True)
    sys.stdin.read()


def call(target, count, *metadata):
    counts = collections.Counter()
    with grpc.insecure_channel(target) as channel:
        method = channel.unary_unary("/shop.Cart/Get")
        for _ in range(int(count)):
            try:
                pairs = [tuple(pair.split("=", 1)) for pair in metadata]
                counts[method(b"", metadata=pairs, timeout=20, wait_for_ready=False).decode()] += 1
            except grpc.RpcError as error:
                counts[error.code().name] += 1
    print(json.dumps(counts))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
