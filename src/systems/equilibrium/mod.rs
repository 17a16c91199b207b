//! Monotone equilibrium layers: z = prox(Wz + Ux + b) with W such that z exists, is unique, and every element of the conservative
//! Jacobian is invertible.
//!
//! ```text
//! W = (1 - m) I - A'A + B - B',   m > 0:      <(I - W) z, z> >= m |z|^2
//! t = Wz + Ux + b,   D = prox'(t):            dz = (I - D W)^-1 D (dW z + dU x + db + U dx)
//! ```
//!
//! Where t stands at a kink of prox each slope in D may be anything in [0, 1]. All are certified:
//! sigma_min(I - D W) >= m / (1 + |I - W|) for every 0 <= D <= I, since u - r = D W u gives 0 <= <u - r, W u - u + r>.
//!
//! With relu it is the complementarity problem of [`crate::VariationalInequality`] with P = I - W, q = -(Ux + b), A = -I, b = 0 and
//! K the orthant.
//!
//! # References
//! Winston, Kolter, Monotone operator equilibrium networks, 2020: Prop. 1 (the form of W), Thm 2 (the backward pass), section 3.3
//! (splittings).

mod column;
mod derivative;
mod forward;
mod layer;

pub use derivative::{EquilibriumDerivative, EquilibriumTangent};
pub use forward::{Equilibrium, EquilibriumSettings, Iteration};
pub use layer::{Activation, EquilibriumLayer, MonotoneWeights};
