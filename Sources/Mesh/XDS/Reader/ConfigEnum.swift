/// An enum of the program whose cases are those values of an enum of the API that the program supports.
///
///     enum DiscoveryType: String, ConfigEnum {
///         case fixed = "STATIC"
///         case strictDNS = "STRICT_DNS"
///     }
///
/// Raw values are the API's names. Values that are not among them are refused by name when they are read.
public protocol ConfigEnum: RawRepresentable<String>, CaseIterable, Sendable {}
