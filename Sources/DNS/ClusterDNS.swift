// Names to answers: zones from the cluster, plugins for the rest, a server over UDP and TCP.
