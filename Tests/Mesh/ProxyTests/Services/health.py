"""grpcio's own health service, three times: plain, without the service, and behind TLS.

    health.py FOLDER

writes the ports to FOLDER/port. The plain one takes the service "up" for well and "down" for not, and each SIGUSR1 turns what it
says of "". TLS is that of FOLDER/server.pem and FOLDER/server.key. Needs the packages grpcio, grpcio-health-checking and protobuf.
"""

import os
import signal
import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

folder = sys.argv[1]
states = health_pb2.HealthCheckResponse


def read(name):
    with open(folder + "/" + name, "rb") as file:
        return file.read()


def server(credentials, service):
    made = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    if service:
        health_pb2_grpc.add_HealthServicer_to_server(service, made)
    address = "127.0.0.1:0"
    port = made.add_secure_port(address, credentials) if credentials else made.add_insecure_port(address)
    made.start()
    return made, port


plain = health.HealthServicer()
plain.set("up", states.SERVING)
plain.set("down", states.NOT_SERVING)
tls = grpc.ssl_server_credentials([(read("server.key"), read("server.pem"))])
servers = [server(None, plain), server(None, None), server(tls, health.HealthServicer())]
turns = [states.SERVING, states.NOT_SERVING]


def turn(*_):
    turns.reverse()
    plain.set("", turns[0])


plain.set("", states.SERVING)
signal.signal(signal.SIGUSR1, turn)
with open(folder + "/port.new", "w") as file:
    file.write(" ".join(str(port) for _, port in servers))
os.rename(folder + "/port.new", folder + "/port")
while True:
    signal.pause()
