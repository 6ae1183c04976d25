//! Placeholder.

pub mod template;
