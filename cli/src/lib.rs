//! Operator commands over the API; with the feature all-in-one also the sandbox and single-node mode.
