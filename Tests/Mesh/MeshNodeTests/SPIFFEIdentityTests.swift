import MeshIdentity
import Testing

@Suite("SPIFFE names")
struct SPIFFEIdentityTests {
    @Test("a workload's name is read and written")
    func workload() {
        let identity = SPIFFEIdentity("spiffe://cluster.local/ns/shop/sa/cart")
        #expect(identity?.namespace == "shop" && identity?.serviceAccount == "cart")
        #expect(identity.map { "\($0)" } == "spiffe://cluster.local/ns/shop/sa/cart")
    }

    @Test(
        "what is no workload's name is none",
        arguments: [
            "", "spiffe://cluster.local", "spiffe://cluster.local/ns/shop", "https://cluster.local/ns/shop/sa/cart",
            "spiffe:///ns/shop/sa/cart", "spiffe://cluster.local/ns//sa/cart", "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://cluster.local/ns/shop/sa/cart/more", "spiffe://cluster.local/ns/sh op/sa/cart",
            "spiffe://cluster.local/sa/cart/ns/shop", "spiffe://cluster.local:80/ns/shop/sa/cart",
        ])
    func others(text: String) { #expect(SPIFFEIdentity(text) == nil) }
}
