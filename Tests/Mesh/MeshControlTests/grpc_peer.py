"""Two gRPC servers and a gRPC client that finds them by xDS; grpcio's own implementation of both.

    grpc_peer.py serve                     two servers; prints their ports on a line, and serves until its input ends
    grpc_peer.py call TARGET COUNT [K=V]   so many calls with these metadata; prints how often who answered as JSON
    grpc_peer.py status PORT               takes clusters and routes of a discovery server, refuses one, and prints what the
                                           server says of that client (ClientStatusDiscoveryService) as JSON

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


def status(port):
    import queue

    from envoy.config.core.v3 import base_pb2
    from envoy.config.cluster.v3 import cluster_pb2  # noqa: F401: the contents of answers
    from envoy.config.route.v3 import route_pb2
    from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
    from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc

    prefix = "type.googleapis.com/envoy.config."
    clusters, routes = prefix + "cluster.v3.Cluster", prefix + "route.v3.RouteConfiguration"
    short = {clusters: "cds", routes: "rds"}
    host = ".shop.svc.cluster.local:80"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        requests = queue.Queue()
        node = base_pb2.Node(id="stranger-1")

        def request(**fields):
            requests.put(discovery_pb2.DiscoveryRequest(node=node, **fields))

        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources(iter(requests.get, None))
        request(type_url=clusters)
        taken = next(stream)
        request(type_url=clusters, version_info=taken.version_info, response_nonce=taken.nonce)
        names = [name + host for name in ("stock", "nobody")]
        request(type_url=routes, resource_names=names)
        taken = next(stream)
        request(type_url=routes, resource_names=names, version_info=taken.version_info, response_nonce=taken.nonce)
        names.append("cart" + host)
        request(type_url=routes, resource_names=names, version_info=taken.version_info, response_nonce=taken.nonce)
        refused = next(stream)
        assert [route_pb2.RouteConfiguration.FromString(one.value).name for one in refused.resources] == ["cart" + host]
        refusal = discovery_pb2.DiscoveryRequest(
            node=node, type_url=routes, resource_names=names, version_info=taken.version_info, response_nonce=refused.nonce
        )
        refusal.error_detail.code = 3
        refusal.error_detail.message = "no good: cart" + host
        requests.put(refusal)

        service = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)

        def question(node="stranger", **fields):
            question = csds_pb2.ClientStatusRequest(**fields)
            question.node_matchers.add().node_id.prefix = node
            return question

        def told(response):
            answer = {"nodes": len(response.config)}
            for config in response.config:
                for one in config.generic_xds_configs:
                    text = csds_pb2.ConfigStatus.Name(one.config_status)
                    if one.HasField("xds_config"):
                        assert one.xds_config.type_url == one.type_url and one.version_info
                        text += " with contents"
                    if one.HasField("error_state"):
                        text += ": " + one.error_state.details
                    answer[short[one.type_url] + " " + one.name] = text
            return answer

        # The refusal is on its way on another stream.
        while True:
            fetched = told(service.FetchClientStatus(question(), timeout=20))
            if any(text.startswith("ERROR") for text in fetched.values() if isinstance(text, str)):
                break
        streamed = list(service.StreamClientStatus(iter([question(), question(exclude_resource_contents=True)]), timeout=20))
        unsupported = csds_pb2.ClientStatusRequest()
        unsupported.node_matchers.add().node_metadatas.add().path.add().key = "x"
        try:
            service.FetchClientStatus(unsupported, timeout=20)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        print(
            json.dumps(
                {
                    "fetched": fetched,
                    "bare": told(streamed[1]),
                    "others": told(service.FetchClientStatus(question("nobody"), timeout=20)),
                    "streamed": {"nodes": len(streamed[0].config), "answers": len(streamed)},
                    "unsupported": code,
                }
            )
        )
        requests.put(None)


{"serve": serve, "call": call, "status": status}[sys.argv[1]](*sys.argv[2:])
