//! The store on PostgreSQL 14 or later.
