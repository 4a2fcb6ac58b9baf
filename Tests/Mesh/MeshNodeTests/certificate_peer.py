"""Asks a mesh authority for certificates as others do: grpcio for the calls, openssl for keys and requests.

    certificate_peer.py sign TARGET ROOTS CERTIFICATE KEY NAME [K=V]...   a certificate for NAME, with this metadata; ROOTS, CERTIFICATE
                                                                          and KEY are files for TLS, of which the last two may be -
    certificate_peer.py trust TARGET ROOTS CERTIFICATE KEY                 the first bundle of trusted roots

Prints JSON: the answer's certificates as PEM, or the code and message that the call failed with.
"""

import json
import subprocess
import sys

import grpc
from google.protobuf import struct_pb2


def field(number, data):
    length = len(data)
    out = bytes([number << 3 | 2])
    while length >= 0x80:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return out + bytes([length]) + data


def fields(data):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2, tag
        length = varint()
        yield tag >> 3, data[at : at + length]
        at += length


def channel(target, roots, certificate, key):
    def read(path):
        return None if path == "-" else open(path, "rb").read()

    credentials = grpc.ssl_channel_credentials(read(roots), read(key), read(certificate))
    return grpc.secure_channel(target, credentials)


def request(name):
    return subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null",
         "-subj", "/", "-addext", f"subjectAltName=URI:{name}"],
        check=True, capture_output=True).stdout


def sign(target, roots, certificate, key, name, *pairs):
    metadata = struct_pb2.Struct()
    metadata.update(dict(pair.split("=", 1) for pair in pairs))
    message = field(1, request(name))
    if pairs:
        message += field(4, metadata.SerializeToString())
    with channel(target, roots, certificate, key) as opened:
        call = opened.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        return {"chain": [value.decode() for number, value in fields(call(message, timeout=20)) if number == 1]}


def trust(target, roots, certificate, key):
    with channel(target, roots, certificate, key) as opened:
        call = opened.unary_stream("/SpiffeWorkloadAPI/FetchX509Bundles")
        answer = next(call(b"", timeout=20, metadata=[("workload.spiffe.io", "true")]))
        bundles = {}
        for number, entry in fields(answer):
            if number == 2:
                parts = dict(fields(entry))
                der = subprocess.run(["openssl", "x509", "-inform", "DER"], input=parts[2], check=True, capture_output=True)
                bundles[parts[1].decode()] = der.stdout.decode()
        return {"bundles": bundles}


try:
    print(json.dumps({"sign": sign, "trust": trust}[sys.argv[1]](*sys.argv[2:])))
except grpc.RpcError as error:
    print(json.dumps({"code": error.code().name, "message": error.details()}))
