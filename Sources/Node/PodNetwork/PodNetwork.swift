// A pod's interface, address and routes, and the paths between nodes. Knows no API objects.
