//! Systems built on the pieces above: equations whose solutions are differentiated implicitly.

pub mod equilibrium;
