// Values that are a few bytes (addresses, ports, timestamps) and cursors over many. No I/O, no protocol, no
// Foundation.
