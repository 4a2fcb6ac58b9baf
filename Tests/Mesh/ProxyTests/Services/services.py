"""Envoy's authorization and rate limit services over grpcio: what they answer is said by who asks.

    services.py FOLDER

writes its port to FOLDER/port and each request, as JSON, to a line of FOLDER/requests. The answer to a Check is the JSON of a
CheckResponse in the header x-answer, that to ShouldRateLimit the JSON in the value of a descriptor's entry "answer". A number
in its place is a gRPC status. Needs the packages grpcio, protobuf and xds-protos.
"""

import os
import sys
import threading
from concurrent import futures

import grpc
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.ratelimit.v3 import rls_pb2 as limit
from google.protobuf import json_format

folder = sys.argv[1]
lock = threading.Lock()
codes = {code.value[0]: code for code in grpc.StatusCode}


def answer(text, kind, request, context):
    with lock, open(folder + "/requests", "a") as log:
        line = json_format.MessageToJson(request, preserving_proto_field_name=True, indent=None)
        metadata = {key: value for key, value in context.invocation_metadata()}
        log.write(line + "\t" + repr(metadata) + "\n")
    if text.isdigit():
        context.abort(codes[int(text)], "as asked")
    return json_format.Parse(text or "{}", kind())


def check(request, context):
    return answer(request.attributes.request.http.headers.get("x-answer", ""), auth.CheckResponse, request, context)


def should_rate_limit(request, context):
    entries = [entry for descriptor in request.descriptors for entry in descriptor.entries]
    said = [entry.value for entry in entries if entry.key == "answer"]
    return answer(said[0] if said else "", limit.RateLimitResponse, request, context)


def handler(service, method, function, request, response):
    behaviour = grpc.unary_unary_rpc_method_handler(function, request.FromString, response.SerializeToString)
    return grpc.method_handlers_generic_handler(service, {method: behaviour})


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((
    handler("envoy.service.auth.v3.Authorization", "Check", check, auth.CheckRequest, auth.CheckResponse),
    handler("envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit", should_rate_limit,
            limit.RateLimitRequest, limit.RateLimitResponse),
))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with open(folder + "/port.new", "w") as file:
    file.write(str(port))
os.rename(folder + "/port.new", folder + "/port")
server.wait_for_termination()
