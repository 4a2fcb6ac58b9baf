import Bytes
import JSON
import Testing

@testable import PodNetwork

@Suite("CNI calls and answers")
struct CNITests {
    /// Answers what it is told to.
    private struct Performer: CNIPerformer {
        var outcome: CNIOutcome = .done
        var failure: (any Error)?
        func perform(_ operation: CNIOperation) throws -> CNIOutcome {
            if let failure { throw failure }
            if case .version = operation { return .version }
            return outcome
        }
    }

    private static let attachment = PodAttachment(
        id: AttachmentID(containerID: "c1", interface: "eth0")!, namespacePath: "/run/netns/p", pod: "shop/cart",
        addresses: [IPAddress("10.244.1.2")!, IPAddress("fd00:1::2")!], hostInterface: "weft00000000001",
        hardwareAddress: MACAddress(0x0A58_0AF4_0102), mtu: 1450)

    private func call(_ command: String, _ configuration: String = #"{"cniVersion":"1.1.0","name":"weft"}"#) -> CNICall
    {
        CNICall(
            command: command, containerID: "c1", namespacePath: "/run/netns/p", interface: "eth0",
            arguments: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart",
            configuration: Array(configuration.utf8))
    }

    private func error(_ call: CNICall, _ performer: Performer = Performer()) throws -> (Int64?, String) {
        let reply = performer.answer(call)
        #expect(!reply.succeeded)
        let json = try JSONValue.parse(reply.output)
        #expect(json["cniVersion"]?.string != nil)
        #expect(json["msg"]?.string?.isEmpty == false)
        return (json["code"]?.int, json["details"]?.string ?? "")
    }

    @Test(
        "a call that cannot be understood gets the specification's code and the field's name",
        arguments: [
            ("ADD", "", 6, ""), ("ADD", "[]", 6, ""), ("ADD", "{", 6, ""),
            ("ADD", #"{"name":"weft"}"#, 1, "0.4.0"), ("ADD", #"{"cniVersion":"9.0.0","name":"weft"}"#, 1, "1.1.0"),
            ("ADD", #"{"cniVersion":"1.0.0"}"#, 7, "name"),
            ("FROB", #"{"cniVersion":"1.0.0","name":"x"}"#, 4, "STATUS"),
            ("", "{}", 6, ""), ("CHECK", #"{"cniVersion":"0.3.1","name":"x","prevResult":{}}"#, 1, "0.3.1"),
            ("CHECK", #"{"cniVersion":"1.0.0","name":"x"}"#, 7, "prevResult"),
            ("ADD", #"{"cniVersion":"1.0.0","name":"x","prevResult":{"ips":[]}}"#, 2, "prevResult"),
            ("ADD", #"{"cniVersion":"1.0.0","name":"x","runtimeConfig":{"mac":"zz"}}"#, 7, "six bytes"),
            ("ADD", #"{"cniVersion":"1.0.0","name":"x","runtimeConfig":{"ips":["10.0.0"]}}"#, 7, "address"),
            ("ADD", #"{"cniVersion":"1.0.0","name":"x","ipam":{"subnet":"10.0.0.0"}}"#, 7, "prefix"),
            (
                "ADD",
                #"{"cniVersion":"1.0.0","name":"x","ipam":{"ranges":[[{"subnet":"10.0.0.0/24"}],[{"subnet":"10.1.0.0/24"}]]}}"#,
                7, "one subnet"
            ),
            ("ADD", #"{"cniVersion":"1.0.0","name":"x","mtu":100,"ipam":{"subnet":"10.0.0.0/24"}}"#, 7, "1280"),
            (
                "GC", #"{"cniVersion":"1.1.0","name":"x","cni.dev/valid-attachments":[{"containerID":"c"}]}"#, 7,
                "ifname"
            ),
        ] as [(String, String, Int64, String)])
    func refused(command: String, configuration: String, code: Int64, mentions: String) throws {
        let (found, details) = try error(call(command, configuration))
        if command.isEmpty {
            #expect(found == 4 || found == 6)
        } else {
            #expect(found == code)
        }
        #expect(details.contains(mentions), "\(details)")
    }

    @Test(
        "an environment that is not usable is code 4",
        arguments: [
            ("", "/n", "eth0"), ("-a", "/n", "eth0"), ("a/b", "/n", "eth0"), ("c", "", "eth0"), ("c", "n", "eth0"),
            ("c", "/n", ""), ("c", "/n", "a-name-of-17-byt"),
        ])
    func environment(container: String, namespace: String, interface: String) throws {
        var call = call("ADD")
        (call.containerID, call.namespacePath, call.interface) = (container, namespace, interface)
        #expect(try error(call).0 == 4)
    }

    @Test("VERSION is answered whatever stands on standard input", arguments: ["", "{", #"{"cniVersion":"0.4.0"}"#])
    func version(input: String) throws {
        let reply = Performer().answer(call("VERSION", input))
        #expect(reply.succeeded)
        let versions = try JSONValue.parse(reply.output)["supportedVersions"]?.array?.compactMap(\.string)
        #expect(versions == ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    }

    @Test("the result of ADD is written in the version that was asked for", arguments: CNIVersion.allCases)
    func result(version: CNIVersion) throws {
        let configuration = #"{"cniVersion":"\#(version.rawValue)","name":"weft","dns":{"nameservers":["10.96.0.10"]}}"#
        let reply = Performer(outcome: .added(Self.attachment)).answer(call("ADD", configuration))
        #expect(reply.succeeded)
        let json = try JSONValue.parse(reply.output)
        #expect(json["cniVersion"]?.string == version.rawValue)
        let ips = try #require(json["ips"]?.array)
        #expect(ips.map { $0["address"]?.string } == ["10.244.1.2/32", "fd00:1::2/128"])
        #expect(ips.map { $0["gateway"]?.string } == ["169.254.1.1", "fe80::1"])
        #expect(ips.map { $0["interface"]?.int } == [1, 1])
        #expect(ips[0]["version"]?.string == (version < .v1_0_0 ? "4" : nil))
        let interfaces = try #require(json["interfaces"]?.array)
        #expect(interfaces.map { $0["name"]?.string } == ["weft00000000001", "eth0"])
        #expect(interfaces[1]["sandbox"]?.string == "/run/netns/p")
        #expect(interfaces[0]["sandbox"] == nil)
        #expect(interfaces[1]["mtu"]?.int == (version >= .v1_1_0 ? 1450 : nil))
        #expect(json["dns"]?["nameservers"]?[0]?.string == "10.96.0.10")
        #expect(json["routes"]?.array?.count == 2)
    }

    @Test("DEL, CHECK, GC and STATUS succeed silently", arguments: ["DEL", "CHECK", "GC", "STATUS"])
    func silent(command: String) {
        let configuration = #"{"cniVersion":"1.1.0","name":"weft","prevResult":{"ips":[]}}"#
        #expect(Performer().answer(call(command, configuration)) == CNIReply(output: [], succeeded: true))
    }

    @Test(
        "a failure has the code that tells the runtime what to do",
        arguments: [
            ("ADD", PodNetworkError.notReady("x"), 11), ("STATUS", PodNetworkError.notReady("x"), 50),
            ("CHECK", PodNetworkError.unknown(attachment.id), 3),
            ("CHECK", PodNetworkError.faulty(attachment.id, "x"), 101),
            ("ADD", AddressPoolError.exhausted(prefix: CIDR("10.0.0.0/24")!, size: 253), 11),
            ("ADD", AddressPoolError.taken(IPAddress("10.0.0.1")!, by: attachment.id), 100),
        ] as [(String, any Error, Int64)])
    func codes(command: String, failure: any Error, code: Int64) throws {
        let configuration = #"{"cniVersion":"1.1.0","name":"weft","prevResult":{}}"#
        let call = call(command, command == "ADD" ? #"{"cniVersion":"1.1.0","name":"weft"}"# : configuration)
        let (found, details) = try error(call, Performer(failure: failure))
        #expect(found == code)
        #expect(!details.isEmpty)
    }

    @Test("the pod's name comes from the runtime's arguments")
    func podName() throws {
        let call = call("ADD")
        guard case .add(let request) = try CNIOperation(call, CNIConfiguration(parsing: call.configuration)) else {
            Issue.record("not an ADD")
            return
        }
        #expect(request.pod == "shop/cart")
    }

    @Test("a frame is complete only with its last byte, and one that claims too much is refused")
    func frames() throws {
        let frame = CNIFrame.write(call("ADD").json)
        for length in 0..<frame.count {
            guard case .incomplete = frame.prefix(length).withUnsafeBytes(CNIFrame.read) else {
                Issue.record("complete after \(length) of \(frame.count)")
                return
            }
        }
        guard case .complete(let json) = frame.withUnsafeBytes(CNIFrame.read) else {
            Issue.record("not complete")
            return
        }
        #expect(CNICall(json: json) == call("ADD"))
        guard
            case .malformed = [0xFF, 0xFF, 0xFF, 0xFF].withUnsafeBytes({ (b: UnsafeRawBufferPointer) in CNIFrame.read(b)
            })
        else {
            // Four integers are more than four bytes, all the same too large a length.
            Issue.record("not refused")
            return
        }
    }

    @Test("a record reads back as it was written, and half a record as nothing")
    func records() throws {
        let json = Self.attachment.json
        #expect(PodAttachment(json: json) == Self.attachment)
        for key in ["containerID", "interface", "netns", "addresses", "hostInterface", "mac", "mtu"] {
            var broken = json
            broken[key] = nil
            #expect(PodAttachment(json: broken) == nil, "without \(key)")
        }
    }
}
