// Desired minus actual is change: the one generic tracker that everything which programs something uses. Knows
// no kernel and no API.
