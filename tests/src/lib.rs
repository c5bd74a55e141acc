//! What the end-to-end, fault and vector tests share.

pub mod databases;
pub mod faulty;
pub mod reference;
