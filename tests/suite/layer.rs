//! The layer: right in every mode, the same to the last bit where that is promised, and one item's fault that item's alone.

mod backends;

mod determinism;

mod modes;

mod random;
mod support;
