//! What the end-to-end, fault and vector tests share.

pub mod embedded;
pub mod reference;
pub mod sample_log;
