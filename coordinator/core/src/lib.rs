//! The pure core: the catalogue, the plan and the machine of an upgrade. No clock, no randomness, no I/O.
