// Pods become containers on this node through an OCI runtime, and their state becomes pod status.
//
// Follow the folders: `Model` reads a Pod object into values, `Desired` turns them into what a runtime needs, `Lifecycle` decides
// what to do next (pure, time is an input), `Runtime` does it (crun, conmon, mounts, cgroups), `Agent` speaks with the API server.
// Service rules and addresses are not decided here.
