mod allocations;
mod builder;
mod bundle;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_bundle;
mod derivative;
mod equilibrium;
mod families;
mod generate;
mod hostile;
mod hull;
mod implicit;
mod implicit_function;
mod indeterminate;
#[cfg(any(feature = "burn", feature = "candle"))]
mod integration;
mod lagrangian;
mod lapack;
mod lasso;
mod layer;
mod lsqr;
mod monitor;
mod parametrization;
mod piggyback;
mod piggyback_problems;
mod piggyback_rates;
mod problems;
mod projection;
mod regular;
mod regularity;
mod ridge;
mod serde;
mod smoothing;
mod support;
mod variational;
