//! What the end-to-end, fault and vector tests share.

pub mod databases;
pub mod embedded;
pub mod faulty;
pub mod reference;
pub mod sample_log;
pub mod sequencing;
