import CLinux

/// What the kernel says about a descriptor.
public struct PollEvents: OptionSet, Sendable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = PollEvents(rawValue: 0x1)
    public static let writable = PollEvents(rawValue: 0x4)
    /// Always reported, never asked for.
    public static let error = PollEvents(rawValue: 0x8)
    /// Both directions are down. Always reported, never asked for.
    public static let hangUp = PollEvents(rawValue: 0x10)
    /// The peer will send no more.
    public static let readHangUp = PollEvents(rawValue: 0x2000)
}

/// A descriptor's place in its loop's slab. The generation drops events that arrive for a slot's former user.
public struct Registration: Hashable, Sendable {
    var slot: UInt32
    var generation: UInt32

    /// No registration; deregistering it does nothing.
    public static let none = Registration(slot: .max, generation: .max)
}

/// Something with a descriptor that a loop polls: a class to subclass, so that an event costs one virtual call.
///
/// `@unchecked Sendable`: a reference may travel anywhere, but every method runs on the loop that it is registered with,
/// and subclasses keep that rule for their own.
open class PollHandler: @unchecked Sendable {
    public init() {}

    /// Edge-triggered: do all that can be done until the call would block, or ask the loop to be called again
    /// (`EventLoop.again`). On the loop.
    open func ready(_ events: PollEvents) {}

    /// The loop has ended with this still registered: close. On the loop, its last call.
    open func loopDidStop() {}

    /// Whether `EventLoop.again` has it in its queue already.
    final var isQueuedAgain = false
}
