mod builder;
mod generate;
mod lapack;
mod projection;
mod support;
