import ClusterAPI
import HTTP
import JSON
import Testing

@testable import APIServer

@Suite("Asking in another's name")
struct ImpersonationTests {
    private static func who(_ client: TestClient, _ headers: HTTPHeaders) async throws -> TestClient.Answer {
        let review: JSONValue = ["apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"]
        return try await client.send(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bytes: review.encoded(),
            type: "application/json",
            headers: headers)
    }

    @Test("an administrator is who he says that he is, and may no more than that one")
    func taken() async throws {
        try await TestServer.with { server in
            let admin = try server.client()
            let joe = try await Self.who(
                admin, ["Impersonate-User": "joe", "Impersonate-Group": "dev", "Impersonate-Extra-Team": "a"])
            let told = joe.json["status"]?["userInfo"]
            #expect(told?["username"] == "joe" && told?["groups"] == ["dev", "system:authenticated"], "\(joe.json)")
            #expect(told?["extra"]?["team"] == ["a"])
            let account = try await Self.who(admin, ["Impersonate-User": "system:serviceaccount:shop:cart"])
            #expect(
                account.json["status"]?["userInfo"]?["groups"] == [
                    "system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated",
                ])
            let pods = try await admin.send(
                "GET", "/api/v1/pods", bytes: [], type: nil, headers: ["Impersonate-User": "joe"])
            #expect(pods.status == 403 && pods.message.contains("\"joe\""))
            let lost = try await Self.who(admin, ["Impersonate-Group": "dev"])
            #expect(lost.status == 400)
        }
    }

    @Test("who has no right to a name is refused in upstream's words")
    func refused() async throws {
        try await TestServer.with { server in
            let joe = try server.client(as: "joe", groups: [])
            for name in ["admin", "system:serviceaccount:kube-system:x"] {
                let answer = try await Self.who(joe, ["Impersonate-User": name])
                #expect(answer.status == 403)
                #expect(answer.message.contains("User \"joe\" cannot impersonate resource"), "\(answer.message)")
            }
            let nobody = try await Self.who(try server.client(as: nil), ["Impersonate-User": "admin"])
            #expect(nobody.status == 403)
        }
    }
}
