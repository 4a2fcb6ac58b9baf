// DNS messages, bytes to values and back. No sockets, no zones.
