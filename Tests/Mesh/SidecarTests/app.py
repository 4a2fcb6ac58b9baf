"""An application in a pod: HTTP on 8080 that tells what it was asked, and TCP on 9000 that speaks first and then repeats.

app.py serve NAME [STATUS]   answers with STATUS where it is given
app.py load URL...           asks in turn until its input ends, and prints how often what was answered
app.py greet ADDRESS PORT    prints what a server says that speaks first, without saying anything
app.py hello ADDRESS PORT NAME   says hello as a TLS client that wants NAME, and prints the first thing that comes back
app.py who ADDRESS PORT      prints whom that server sees
app.py token ISSUER SUBJECT JSON  prints a token with these claims, signed by the key that /jwks tells
app.py sniff WORD            counts packets on all interfaces that have a word, until its input ends
"""
import base64, collections, hashlib, hmac, http.server, json, os, select, socket, ssl, time, socketserver, sys, threading, urllib.request


def packed(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


SECRET = b"a secret of the test's own, which is long enough"


def keys():
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": packed(SECRET)}]}


def token(issuer, subject, claims):
    header = {"alg": "HS256", "typ": "JWT", "kid": "1"}
    payload = {"iss": issuer, "sub": subject, "exp": int(time.time()) + 3600, **json.loads(claims)}
    text = ".".join(packed(json.dumps(part).encode()) for part in (header, payload))
    print(text + "." + packed(hmac.new(SECRET, text.encode(), hashlib.sha256).digest()), end="")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(name, status="200"):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            body = json.dumps(keys() if self.path == "/jwks" else {
                "name": name, "path": self.path, "host": self.headers.get("host"), "peer": self.client_address[0],
                "identity": self.headers.get("x-forwarded-client-cert", ""), "user": self.headers.get("x-user", ""),
            }).encode()
            self.send_response(int(status))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"hello from " + name.encode() + b"\n")
            while data := self.request.recv(4096):
                self.request.sendall(self.client_address[0].encode() if data == b"who" else data)

    class GreeterServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        allow_reuse_address = True

    class Server6(Server):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    class GreeterServer6(GreeterServer):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    for server in [
        GreeterServer(("0.0.0.0", 9000), Greeter), GreeterServer6(("::", 9000), Greeter), Server6(("::", 8080), Handler),
    ]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    Server(("0.0.0.0", 8080), Handler).serve_forever()


def load(*urls):
    counts = collections.Counter()
    turn = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        url = urls[turn % len(urls)]
        turn += 1
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                counts[json.load(answer)["name"]] += 1
        except urllib.error.HTTPError as error:
            counts[f"{error.code}: {error.read(200).decode()}"] += 1
        except Exception as error:
            counts[repr(error)] += 1
    print(json.dumps(counts))


def greet(address, port):
    with socket.create_connection((address, int(port)), 30) as connection:
        connection.settimeout(30)
        print(connection.recv(4096).decode(), end="")


def hello(address, port, name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection((address, int(port)), 30) as connection:
        connection.settimeout(30)
        connection.sendall(outgoing.read())
        try:
            answer = connection.recv(4096)
        except ConnectionResetError:
            answer = b""
        print(answer.decode(errors="replace").splitlines()[0] if answer else "refused", end="")


def who(address, port):
    with socket.create_connection((address, int(port)), 30) as connection:
        connection.settimeout(30)
        connection.recv(4096)
        connection.sendall(b"who")
        print(connection.recv(4096).decode(), end="")


def sniff(word):
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    print("ready", flush=True)
    counts = {"all": 0, "word": 0}
    while True:
        readable, _, _ = select.select([packets, sys.stdin], [], [])
        if packets in readable:
            data = packets.recv(65536)
            counts["all"] += 1
            if word.encode() in data:
                counts["word"] += 1
        elif sys.stdin in readable:
            print(json.dumps(counts))
            return


globals()[sys.argv[1]](*sys.argv[2:])
