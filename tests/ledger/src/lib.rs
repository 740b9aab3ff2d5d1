//! A stand-in for the ledger's binary that behaves as the real one was measured to behave, disasters included.
