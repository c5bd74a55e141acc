//! What only PostgreSQL can do, and could do wrong: migrations, rights, concurrent writers, restored dumps.
//!
//! What both stores do alike is in the conformance suite.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what cannot be done fails the test")]

mod postgres {
    mod append;
    mod capture;
    mod capture_rights;
    mod capture_statements;
    mod capture_tables;
    mod failures;
    mod migrations;
    mod processing;
    mod rights;
    mod writers;
}
