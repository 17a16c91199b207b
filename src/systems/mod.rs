//! Systems built on the pieces above, each with its own solver, derivatives and evidence.

pub mod equilibrium;
pub mod lasso;
