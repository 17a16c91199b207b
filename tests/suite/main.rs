mod allocations;
mod builder;
#[cfg(feature = "cli")]
mod cli;
mod derivative;
mod families;
mod generate;
mod hostile;
mod hull;
mod lagrangian;
mod lapack;
mod layer;
mod lsqr;
mod parametrization;
mod problems;
mod projection;
mod regular;
mod support;
