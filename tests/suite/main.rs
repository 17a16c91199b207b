mod builder;
mod derivative;
mod generate;
mod lapack;
mod projection;
mod support;
