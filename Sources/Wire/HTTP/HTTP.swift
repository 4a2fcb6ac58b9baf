// HTTP/1.1 and HTTP/2: codecs without I/O, and the server and client that drive them on loops. Knows nothing
// of Kubernetes.
