//! The curved cones' projections, here because the element at given z and s is not public.

mod exponential;
mod generalized_power;
mod golden;
mod kinks;
mod power;
mod support;
