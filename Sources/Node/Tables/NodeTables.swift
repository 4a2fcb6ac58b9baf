// What the rooms that write nftables share: a table's fixed shape and how it is taken over, how changes are paced, and how a
// packet is followed through what is written. Knows no objects of the API.
