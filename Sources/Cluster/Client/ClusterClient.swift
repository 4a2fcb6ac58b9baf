// A client's side of the Kubernetes API: requests, list-watch, informers, work queues, leader election.
