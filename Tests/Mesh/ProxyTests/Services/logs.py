"""Envoy's access log service over grpcio.

    logs.py FOLDER

writes its port to FOLDER/port and each message of a stream, as JSON, to a line of FOLDER/requests. Needs the packages
grpcio, protobuf and xds-protos.
"""

import os
import sys
import threading
from concurrent import futures

import grpc
from envoy.service.accesslog.v3 import als_pb2 as als
from google.protobuf import json_format

folder = sys.argv[1]
lock = threading.Lock()


def stream_access_logs(messages, context):
    for message in messages:
        line = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)
        with lock, open(folder + "/requests", "a") as log:
            log.write(line + "\t\n")
    return als.StreamAccessLogsResponse()


behaviour = grpc.stream_unary_rpc_method_handler(
    stream_access_logs, als.StreamAccessLogsMessage.FromString, als.StreamAccessLogsResponse.SerializeToString)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "envoy.service.accesslog.v3.AccessLogService", {"StreamAccessLogs": behaviour}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with open(folder + "/port.new", "w") as file:
    file.write(str(port))
os.rename(folder + "/port.new", folder + "/port")
server.wait_for_termination()
