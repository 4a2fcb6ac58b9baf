import Bytes
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Real packets do what Kubernetes promises", .serialized, .ownThreads)
struct PacketMatrixTests {
    struct Node: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var wiring = PacketLab.Wiring.routed
        var change: @Sendable (inout ServiceProxyConfiguration) -> Void = { _ in }
    }

    static let nodes: [Node] = [
        Node(testDescription: "pods told by their prefix"),
        Node(testDescription: "pods told by their bridge", wiring: .bridged) {
            $0.localDetector = .bridgeInterface("cni0")
        },
        Node(testDescription: "pods told by how their interfaces' names begin, node ports on listed addresses") {
            $0.localDetector = .interfaceNamePrefix("pod")
            $0.nodePortAddresses = .prefixes([prefix("203.0.113.0/24"), prefix("fd00:8::/64")])
        },
        Node(testDescription: "pods not told from others") { $0.localDetector = .none },
        Node(testDescription: "everything to cluster IPs masqueraded, another bit") {
            $0.masqueradesAll = true
            $0.masqueradeMark = 0x8000
        },
    ]

    @Test(
        "destination × policy × endpoints × source × family × protocol: who answers, whom it sees, and who is refused or met by silence",
        arguments: nodes)
    func matrix(node: Node) async throws {
        var configuration = ServiceProxyConfiguration.testing
        node.change(&configuration)
        let wiring = node.wiring
        let lab = try PacketLab(configuration, wiring)
        let matrix = PacketMatrix(configuration)
        matrix.feed(lab.bench.proxy)
        try lab.bench.proxy.sync()
        let questions = matrix.questions { place in
            wiring == .bridged && (place == .podA || place == .podB) ? "cni0" : "\(place)"
        }
        // 5 × 2 Services, 4 addresses, 2 protocols, 2 families, 5 sources, but for what cannot be.
        #expect(questions.count > 700)
        for (question, answers) in zip(questions, try await lab.ask(questions)) {
            #expect(answers.sorted() == question.expected.sorted(), "\(question)")
        }
    }
}
