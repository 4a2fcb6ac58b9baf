import JSON
import Testing

@testable import ClusterAPI

@Suite struct DefaultingTests {
    static func defaulted(_ text: String, _ kind: GroupVersionKind) throws -> JSONValue {
        var object = try Conformance.shared.conform(JSONValue.parse(text), to: kind).object
        Defaulting.apply(to: &object, of: kind)
        return object
    }

    /// Kind, what a client sends, what becomes of the spec.
    static let rows: [(GroupVersionKind, String, String)] = [
        (
            GroupVersionKind(kind: "Pod"),
            #"{"spec":{"containers":[{"name":"c","image":"r:5000/x","ports":[{"containerPort":80}],"livenessProbe":{"httpGet":{"port":80}},"resources":{"limits":{"cpu":"1500u"}}}],"volumes":[{"name":"v"},{"name":"s","secret":{"secretName":"s"}}],"serviceAccountName":"a"}}"#,
            #"{"containers":[{"image":"r:5000/x","imagePullPolicy":"Always","livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"2m"},"requests":{"cpu":"2m"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"serviceAccount":"a","serviceAccountName":"a","terminationGracePeriodSeconds":30,"volumes":[{"emptyDir":{},"name":"v"},{"name":"s","secret":{"defaultMode":420,"secretName":"s"}}]}"#
        ),
        (
            GroupVersionKind(kind: "Pod"),
            #"{"spec":{"hostNetwork":true,"restartPolicy":"Never","terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"x:1","ports":[{"containerPort":80}]}]}}"#,
            #"{"containers":[{"image":"x:1","imagePullPolicy":"IfNotPresent","name":"c","ports":[{"containerPort":80,"hostPort":80,"protocol":"TCP"}],"resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"hostNetwork":true,"restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":0}"#
        ),
        (
            GroupVersionKind(group: "apps", kind: "Deployment"),
            #"{"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":1}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[]}}}}"#,
            #"{"progressDeadlineSeconds":600,"replicas":0,"revisionHistoryLimit":10,"selector":{"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":"25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}"#
        ),
        (
            GroupVersionKind(group: "apps", kind: "Deployment"), #"{"spec":{"strategy":{"type":"Recreate"}}}"#,
            #"{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"strategy":{"type":"Recreate"}}"#
        ),
        (
            GroupVersionKind(kind: "Service"),
            #"{"spec":{"type":"NodePort","sessionAffinity":"ClientIP","ports":[{"port":80,"targetPort":0,"nodePort":0},{"port":81,"targetPort":"web","protocol":"UDP"}]}}"#,
            #"{"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80},{"port":81,"protocol":"UDP","targetPort":"web"}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"NodePort"}"#
        ),
        (
            GroupVersionKind(kind: "Service"), #"{"spec":{"type":"ExternalName","externalName":"x.y"}}"#,
            #"{"externalName":"x.y","sessionAffinity":"None","type":"ExternalName"}"#
        ),
        (
            GroupVersionKind(group: "batch", kind: "Job"), #"{"spec":{"parallelism":2}}"#,
            #"{"backoffLimit":6,"completionMode":"NonIndexed","manualSelector":false,"parallelism":2,"podReplacementPolicy":"TerminatingOrFailed","suspend":false}"#
        ),
        (
            GroupVersionKind(group: "networking.k8s.io", kind: "NetworkPolicy"),
            #"{"spec":{"egress":[{"ports":[{"port":53}]}]}}"#,
            #"{"egress":[{"ports":[{"port":53,"protocol":"TCP"}]}],"podSelector":{},"policyTypes":["Ingress","Egress"]}"#
        ),
        (
            GroupVersionKind(kind: "LimitRange"),
            #"{"spec":{"limits":[{"type":"Container","max":{"cpu":"2"},"min":{"cpu":"1","memory":"1Mi"}}]}}"#,
            #"{"limits":[{"default":{"cpu":"2"},"defaultRequest":{"cpu":"2","memory":"1Mi"},"max":{"cpu":"2"},"min":{"cpu":"1","memory":"1Mi"},"type":"Container"}]}"#
        ),
    ]

    @Test("what nobody sets has the value that Kubernetes gives it", arguments: rows.indices)
    func table(index: Int) throws {
        let (kind, text, expected) = Self.rows[index]
        let object = try Self.defaulted(text, kind)
        #expect(object["spec"] == (try JSONValue.parse(expected)), "\(kind)")
    }

    @Test("defaults are applied once: a second time changes nothing, nor does conforming") func idempotent() throws {
        for resource in Schema.shared.resources where resource.isStored {
            let type = try #require(Schema.shared.typeIndex(of: resource.gvk))
            for object in [ProtobufCodecTests.sample(type, .shared, 4), ["metadata": ["name": "n"]]] {
                var once = try Conformance.shared.conform(object, to: resource.gvk).object
                Defaulting.apply(to: &once, of: resource.gvk)
                var twice = once
                Defaulting.apply(to: &twice, of: resource.gvk)
                #expect(twice == once, "\(resource.gvk)")
                let (conformed, unknown) = try Conformance.shared.conform(once, to: resource.gvk)
                #expect(unknown.isEmpty)
                Defaulting.apply(to: &twice, of: resource.gvk)
                var again = conformed
                Defaulting.apply(to: &again, of: resource.gvk)
                #expect(again == once, "\(resource.gvk)")
            }
        }
    }

    @Test("a Secret's plain text becomes data, and wins") func secret() throws {
        let secret = try Self.defaulted(
            #"{"data":{"a":"b2xk","k":"dg=="},"stringData":{"a":"new"}}"#, GroupVersionKind(kind: "Secret"))
        #expect(secret == ["data": ["a": "bmV3", "k": "dg=="], "type": "Opaque"])
    }

    @Test("a namespace bears its name as a label") func namespace() throws {
        let object = try Self.defaulted(#"{"metadata":{"name":"shop"}}"#, GroupVersionKind(kind: "Namespace"))
        #expect(object["metadata"]?["labels"]?["kubernetes.io/metadata.name"] == "shop")
        #expect(object["status"]?["phase"] == "Active")
    }

    @Test(
        "an image without tag, or tagged latest, is always pulled",
        arguments: [
            ("x", true), ("x:latest", true), ("x:1", false), ("r:5000/x", true), ("r:5000/x:2", false),
            ("x@sha256:0", false), ("x:latest@sha256:0", false), ("", true),
        ])
    func pullPolicy(image: String, isLatest: Bool) { #expect(PodDefaults.isLatest(image) == isLatest) }

    @Test(
        "a pod's class follows from its requests and limits",
        arguments: [
            ("[{}]", PodQOS.bestEffort),
            (#"[{"resources":{"requests":{"cpu":"1"}}}]"#, .burstable),
            (#"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]"#, .guaranteed),
            (
                #"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m","memory":"1Gi"}}}]"#,
                .guaranteed
            ),
            (
                #"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}}}]"#,
                .burstable
            ),
            (#"[{"resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{}]"#, .burstable),
        ])
    func qos(containers: String, expected: PodQOS) throws {
        #expect(PodQOS(spec: ["containers": try JSONValue.parse(containers)]) == expected)
    }
}
