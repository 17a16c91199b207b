mod allocations;
mod builder;
mod derivative;
mod generate;
mod lapack;
mod problems;
mod projection;
mod support;
