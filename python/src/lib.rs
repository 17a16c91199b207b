//! The compiled part of the Python package: float64 arrays of two dimensions in, float64 arrays out. Shapes, broadcasting, dtypes and
//! sparse matrices are Python's (conediff/layer.py).

#![deny(unsafe_code)]
// Signatures are Python's.
#![allow(clippy::too_many_arguments)]

mod budget;
mod bundle;
mod error;
mod evidence;
mod layer;
mod matrix;
mod pool;
mod settings;
mod solved;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use super::bundle::replay;
    #[pymodule_export]
    use super::evidence::Evidence;
    #[pymodule_export]
    use super::layer::Layer;
    #[pymodule_export]
    use super::solved::Solved;

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
