//! What a careless or malicious caller can do: each case a specific error with its numbers, or a documented meaning.

mod derivatives;
mod input;
mod projections;
mod random;
mod solving;
pub mod support;
