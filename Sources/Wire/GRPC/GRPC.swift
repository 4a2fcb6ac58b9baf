// gRPC's framing over HTTP/2: bytes in, messages out, and back. What carries the bytes and what the messages mean stays outside.
