//! Scenarios, fault tiers and benches that run the real programs.
