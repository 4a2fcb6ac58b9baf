import Bytes
import JSON
import Testing

@testable import ClusterAPI
@testable import Controllers

/// Gives slices names and keeps them, as the server would.
private func applied(_ change: EndpointSliceChange, to slices: [KubeObject]) -> [KubeObject] {
    var result = slices.filter { slice in !change.delete.contains { $0.name == slice.name } }
    for updated in change.update {
        if let index = result.firstIndex(where: { $0.name == updated.name }) { result[index] = updated }
    }
    for var slice in change.create {
        // The lowest number that was never given.
        let last = slices.compactMap { Int($0.name.dropFirst("cart-".count)) }.max() ?? 0
        slice.name = "cart-\(last + 1 + result.count)"
        result.append(slice)
    }
    return result
}

private func change(_ pods: [KubeObject], _ slices: [KubeObject] = [], service: KubeObject = service())
    -> EndpointSliceChange
{
    EndpointSliceChange(
        service, wanted: EndpointSliceModel.groups(service, pods: pods) { _ in nil }, existing: slices)
}

private func pods(_ range: Range<Int>) -> [KubeObject] {
    range.map { pod("p\($0)", ip: "10.244.\($0 / 250).\($0 % 250 + 1)") }
}

@Suite("EndpointSlices")
struct EndpointSliceTests {
    @Test(
        "an endpoint's conditions follow its pod",
        arguments: [
            (true, false, false, true, true, false), (false, false, false, false, false, false),
            (true, true, false, false, true, true), (false, true, false, false, false, true),
            (false, false, true, true, false, false), (false, true, true, true, false, true),
        ])
    func conditions(ready: Bool, deleted: Bool, publishes: Bool, isReady: Bool, isServing: Bool, isTerminating: Bool) {
        let service = service { $0["spec"]?["publishNotReadyAddresses"] = .bool(publishes) }
        let slice = change([pod("a", ready: ready, deleted: deleted, ip: "10.0.0.1")], service: service).create.first
        #expect(
            slice?.json["endpoints"]?[0]?["conditions"]
                == ["ready": .bool(isReady), "serving": .bool(isServing), "terminating": .bool(isTerminating)])
    }

    @Test("ended pods and pods without an address are no endpoints; no endpoint at all is one empty slice")
    func none() {
        let change = change([pod("a"), pod("b", phase: "Failed", ip: "10.0.0.1"), pod("c", ip: "fd00::1")])
        #expect(change.create.map { $0.json["endpoints"] } == [[]])
        #expect(change.create.first?.json["addressType"] == "IPv4")
    }

    @Test("a slice is labelled as its Service and says whose it is")
    func labels() {
        let service = service { $0["spec"]?["clusterIP"] = "None" }
        let slice = change(pods(0..<1), service: service).create.first
        #expect(
            slice?.labels == [
                "team": "a", "kubernetes.io/service-name": "cart", "service.kubernetes.io/headless": "",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            ])
        #expect(slice?.controller?.uid == "uid-cart")
        #expect(slice?.generateName == "cart-")
    }

    @Test("a named target port is the pod's own, and pods that disagree stand in slices of their own")
    func namedPorts() {
        let other = pod("b", ip: "10.0.0.2") {
            $0["spec"]?["containers"] = [["name": "c", "ports": [["name": "http", "containerPort": 9090]]]]
        }
        let slices = change([pod("a", ip: "10.0.0.1"), other]).create
        #expect(Set(slices.compactMap { $0.json["ports"]?[0]?["port"]?.int }) == [8080, 9090])
    }

    @Test("a hostname is shown only under the subdomain of its Service")
    func hostname() {
        func shown(_ subdomain: String) -> JSONValue? {
            let host = pod("a", ip: "10.0.0.1") {
                $0["spec"]?["hostname"] = "h"
                $0["spec"]?["subdomain"] = .string(subdomain)
            }
            return change([host]).create.first?.json["endpoints"]?[0]?["hostname"]
        }
        #expect(shown("cart") == "h")
        #expect(shown("other") == nil)
    }

    @Test("slices hold a hundred; one more pod is one more slice, and nothing else is touched")
    func capacity() {
        var slices = applied(change(pods(0..<250)), to: [])
        #expect(slices.map { $0.json["endpoints"]?.array?.count } == [100, 100, 50])
        let more = change(pods(0..<251), slices)
        #expect(more.create.isEmpty && more.delete.isEmpty)
        #expect(more.update.count == 1)
        slices = applied(more, to: slices)
        #expect(change(pods(0..<251), slices) == EndpointSliceChange(service(), wanted: [:], existing: []))
    }

    @Test("one pod's change is one slice's update")
    func minimal() {
        var all = pods(0..<250)
        let slices = applied(change(all), to: [])
        all[120] = pod("p120", ready: false, ip: "10.244.0.121")
        let change = change(all, slices)
        #expect(change.update.count == 1)
        #expect(change.create.isEmpty && change.delete.isEmpty)
    }

    @Test("through any churn the slices hold exactly the pods, each once, and then rest", arguments: 0..<8)
    func churn(seed: Int) {
        var generator = SplitMix64(seed: UInt64(seed))
        var slices: [KubeObject] = []
        for _ in 0..<10 {
            let low = Int.random(in: 0..<200, using: &generator)
            let all = pods(low..<low + Int.random(in: 0..<300, using: &generator))
            slices = applied(change(all, slices), to: slices)
            let addresses = slices.flatMap { $0.json["endpoints"]?.array ?? [] }.compactMap {
                $0["addresses"]?[0]?.string
            }
            #expect(addresses.count == all.count, "seed \(seed)")
            #expect(Set(addresses).count == all.count, "seed \(seed)")
            #expect(slices.allSatisfy { ($0.json["endpoints"]?.array?.count ?? 0) <= 100 })
            let rest = change(all, slices)
            #expect(rest.create.isEmpty && rest.update.isEmpty && rest.delete.isEmpty, "seed \(seed)")
        }
    }

    @Test("Endpoints keep ready and other addresses apart, leave out what is going, and say when they are too many")
    func legacy() {
        let (subsets, truncated) = EndpointsController.subsets(
            service(),
            [pod("a", ip: "10.0.0.1"), pod("b", ready: false, ip: "10.0.0.2"), pod("c", deleted: true, ip: "10.0.0.3")])
        #expect(!truncated)
        #expect(subsets.count == 1)
        #expect(subsets[0]["addresses"]?.array?.compactMap { $0["ip"]?.string } == ["10.0.0.1"])
        #expect(subsets[0]["notReadyAddresses"]?.array?.compactMap { $0["ip"]?.string } == ["10.0.0.2"])
        let many = EndpointsController.subsets(service(), pods(0..<1001))
        #expect(many.isTruncated)
        #expect(many.subsets[0]["addresses"]?.array?.count == 1000)
    }
}
