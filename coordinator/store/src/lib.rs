//! Where facts are kept: one trait, its implementations, and the conformance suite they all pass.
