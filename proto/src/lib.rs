//! The wire: cutover.v1, its generated code, and the only conversions between wire and vocabulary.
