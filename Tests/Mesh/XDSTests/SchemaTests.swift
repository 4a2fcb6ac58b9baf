import Testing
import XDS

@Suite("ProtoSchema") struct SchemaTests {
    @Test("every message of the table can be read, and is found by its name") func all() throws {
        let names = ProtoSchema.envoy.messageNames
        #expect(names.count > 800)
        #expect(names == names.sorted())
        for name in names {
            let type = try #require(ProtoSchema.envoy.message(name))
            #expect(type.name == name)
            #expect(Set(type.fieldNames).count == type.fieldNames.count)
        }
    }

    @Test(
        "a name that is nobody's is found nowhere",
        arguments: [
            "", "envoy", "envoy.config.cluster.v3.Cluste", "envoy.config.cluster.v3.Cluster2", "zzz", "a",
        ])
    func none(name: String) {
        #expect(ProtoSchema.envoy.message(name) == nil)
    }
}
