//! The control plane: settings, election, the loop of an upgrade, dispatch, gRPC services.
