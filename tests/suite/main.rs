mod lapack;
mod projection;
mod support;
