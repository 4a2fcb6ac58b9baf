"""Authorizes requests as envoy.service.auth.v3.Authorization, by gRPC's own server: whoever has `x-word: sesame` is alice, all others
have to say who they are. Prints its port, and then a line for each question: the path. Ends with its input.
"""

import sys
from concurrent import futures

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2


class Authorizer(external_auth_pb2_grpc.AuthorizationServicer):
    def Check(self, request, context):
        asked = request.attributes.request.http
        print(asked.path, flush=True)
        if asked.headers.get("x-word") == "sesame":
            user = base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key="x-user", value="alice"))
            return external_auth_pb2.CheckResponse(
                status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse(headers=[user])
            )
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=16),
            denied_response=external_auth_pb2.DeniedHttpResponse(
                status=http_status_pb2.HttpStatus(code=401), body="who are you?"
            ),
        )


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
external_auth_pb2_grpc.add_AuthorizationServicer_to_server(Authorizer(), server)
port = server.add_insecure_port("0.0.0.0:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
