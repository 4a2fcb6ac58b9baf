// Envoy's configuration: what its messages look like, texts and bytes of them in and out, and a reader that knows what was
// read. No I/O, no sockets, no file: who has bytes brings them. Nothing here knows what a proxy does with a field.
