import ClusterAPI

extension Refusal {
    static let howToBeAllowed = "ask who runs the cluster for the right; kubectl auth can-i --list says which there are"

    /// What a server answered, or that it did not, with what to do about it.
    init(_ error: any Error, of server: String) {
        guard let status = error as? StatusError else {
            self.init(
                "\(error)",
                hint: "does weft-control run, and is it at \(server)? weft status tells of clusters of weft up")
            return
        }
        let hint =
            switch status.code {
            case 401: "the kubeconfig's credentials are not of this cluster, or are out of date"
            case 403: Self.howToBeAllowed
            default: "answered by \(server)"
            }
        self.init("\(error)", hint: hint)
    }
}
