//! The pure desk of an agent: which order is accepted, refused, adopted, revoked, acknowledged.
