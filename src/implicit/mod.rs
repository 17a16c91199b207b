//! The nonsmooth implicit function theorem for a user's own equation F(x, y) = 0.
//!
//! With [A B] an element of F's conservative Jacobian at a zero, A = dF/dx and B = dF/dy:
//!
//! ```text
//! dy = -B^-1 A dx            gx = -A' B^-T gy
//! ```
//!
//! If every B is invertible, and the set of all [A B] convex, these are elements of a conservative Jacobian of the implicit function
//! y(x). One element cannot show that, nor can any number of them by themselves: F = |x| - |y| has B = -1 and B = 1 and two
//! branches. What can is their structure ([`Elements`]).
//!
//! # References
//! Bolte, Le, Pauwels, Silveti-Falls, Nonsmooth implicit differentiation for machine learning and optimization, 2021, Theorem 2.

mod elements;
mod family;
mod function;

pub use elements::{Elements, Invertibility};
pub use family::{FamilyCertificate, SelectionFamily, SingularElement};
pub use function::{ImplicitFunction, Linearization};
