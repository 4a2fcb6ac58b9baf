import ClusterAPI
import HTTP

/// Somebody asks in another's name (`kubectl --as`), for which he needs the right: verb `impersonate` of users, groups, service accounts.
struct Impersonation {
    /// Who is to be asked as.
    let user: UserInfo
    /// One a thing that is taken on, each of which must be allowed.
    let needs: [AccessAttributes]

    /// - Returns: nil for a request in nobody else's name.
    /// - Throws: `badRequest` for groups, uid or extra without a user.
    init?(_ headers: HTTPHeaders) throws(StatusError) {
        let groups = headers.values("impersonate-group")
        let uid = headers["impersonate-uid"] ?? ""
        var extra: [String: [String]] = [:]
        for (name, value) in headers {
            let name = name.lowercased()
            guard name.hasPrefix("impersonate-extra-") else { continue }
            let key = name.dropFirst("impersonate-extra-".count)
            extra[PercentEncoding.decode(key) ?? String(key), default: []].append(value)
        }
        guard let name = headers["impersonate-user"], !name.isEmpty else {
            guard groups.isEmpty, uid.isEmpty, extra.isEmpty else {
                throw .badRequest("groups, uid or extra of somebody were asked for, and no Impersonate-User")
            }
            return nil
        }
        func need(_ resource: String, _ name: String, group: String = "") -> AccessAttributes {
            var need = AccessAttributes(verb: "impersonate")
            (need.group, need.version, need.resource, need.name) = (group, "v1", resource, name)
            return need
        }
        var needs: [AccessAttributes] = []
        var all = groups
        let parts = name.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount" {
            var account = need("serviceaccounts", parts[3])
            account.namespace = parts[2]
            needs.append(account)
            if all.isEmpty { all = ["system:serviceaccounts", "system:serviceaccounts:\(parts[2])"] }
        } else {
            needs.append(need("users", name))
        }
        needs += groups.map { need("groups", $0) }
        if !uid.isEmpty { needs.append(need("uids", uid, group: "authentication.k8s.io")) }
        for (key, values) in extra.sorted(by: { $0.key < $1.key }) {
            for value in values {
                var one = need("userextras", value, group: "authentication.k8s.io")
                one.subresource = key
                needs.append(one)
            }
        }
        let standing =
            name == UserInfo.anonymous.name ? UserInfo.anonymous.groups : ["system:authenticated"]
        if !all.contains("system:unauthenticated") { all += standing.filter { !all.contains($0) } }
        user = UserInfo(name: name, uid: uid, groups: all, extra: extra)
        self.needs = needs
    }
}
