//! The layer: right in every mode, the same to the last bit where that is promised, and one item's fault that item's alone.

mod backends;
mod counts;
mod determinism;
mod faults;
mod handover;
mod kinks;
mod modes;
mod parametrized;
mod random;
mod shapes;
pub mod support;
mod verdicts;
