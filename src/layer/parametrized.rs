//! A layer of parameters: theta -> (P, q, A, b) -> (x, z, s).

use super::forward::Shared;
use super::{ConicLayer, LayerData, LayerSettings};
use crate::derivative::Checked;
use crate::error::Result;
use crate::parametrization::Parametrization;
use crate::program::ConeProgram;
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};

/// A [`ConicLayer`] whose data are affine in parameters theta.
///
/// Only what depends on theta is formed, forward and backward: a theta that moves b alone costs no gradient of P or A.
///
/// ```
/// use conediff::{Cone, ConeProgram, LayerSettings, Parametrization, ParametrizedLayer, SolutionTangent};
/// // minimize 1/2 x^2 - x subject to x <= theta_0 + 2 theta_1
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let b = sprs::CsMat::new_csc((1, 2), vec![0, 1, 2], vec![0, 0], vec![1.0, 2.0]);
/// let map = Parametrization::new(&program, None, None, None, Some(&b))?;
/// let mut layer = ParametrizedLayer::new(&program, map, LayerSettings::default())?;
/// assert!((layer.forward(&[0.1, 0.2])?.x[0] - 0.5).abs() < 1e-12);
/// let seed = SolutionTangent { x: vec![1.0], z: vec![0.0], s: vec![0.0] };
/// let gradient = layer.backward(&seed)?;
/// assert!((gradient.value[0] - 1.0).abs() < 1e-12 && (gradient.value[1] - 2.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct ParametrizedLayer {
    layer: ConicLayer,
    map: Parametrization,
    data: DataTangent,
    gradient: DataCotangent,
}

impl ParametrizedLayer {
    /// A layer for the program's structure; `map` must have been made for the same program.
    ///
    /// # Errors
    /// Those of [`ConicLayer::new`].
    pub fn new(
        program: &ConeProgram,
        map: Parametrization,
        settings: LayerSettings,
    ) -> Result<Self> {
        Ok(Self {
            layer: ConicLayer::new(program, settings)?,
            map,
            data: DataTangent::default(),
            gradient: DataTangent::default(),
        })
    }

    /// The layer below: the last forward's derivative, counts, paths.
    pub fn layer(&self) -> &ConicLayer {
        &self.layer
    }

    /// Solves at theta.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`]; those of [`ConicLayer::forward`].
    pub fn forward(&mut self, theta: &[f64]) -> Result<&Solution> {
        // A theta that is refused is a forward that failed: the one before is not left to be differentiated.
        if let Err(error) = self.map.evaluate_into(theta, &mut self.data) {
            return self.layer.forward_item(Err(error));
        }
        self.layer.forward(&layer_data(&self.map, &self.data))
    }

    /// Solves at many theta; an item that fails leaves the others alone.
    pub fn forward_batch(&mut self, theta: &[Vec<f64>]) -> Vec<Result<Solution>> {
        let map = &self.map;
        let program = |shared: &Shared, theta: &Vec<f64>| {
            let mut data = DataTangent::default();
            map.evaluate_into(theta, &mut data)?;
            let data = layer_data(map, &data);
            shared.program.with_data(data.p, data.q, data.a, data.b)
        };
        self.layer.forward_all(theta, |_| None, program)
    }

    /// Gradient of <cotangent, (x, z, s)> in theta at the last forward's solution.
    ///
    /// # Errors
    /// Those of [`ConicLayer::backward`].
    pub fn backward(&mut self, cotangent: &SolutionCotangent) -> Result<Checked<Vec<f64>>> {
        let wanted = self.map.wanted();
        let evidence = self
            .layer
            .backward_into(cotangent, wanted, &mut self.gradient)?;
        let mut value = Vec::new();
        self.map.pull_back_into(&self.gradient, &mut value)?;
        Ok(self.layer.derivative()?.checked(value, evidence))
    }

    /// Gradients in theta for the items of the last batch, one cotangent each.
    ///
    /// # Errors
    /// Those of [`ConicLayer::backward_batch`].
    pub fn backward_batch(
        &mut self,
        cotangents: &[SolutionCotangent],
    ) -> Result<Vec<Result<Checked<Vec<f64>>>>> {
        let (map, wanted) = (&self.map, self.map.wanted());
        self.layer
            .each("cotangents", cotangents, |item, k, cotangent| {
                let (derivative, work) = item.ready(k)?;
                let mut gradient = DataTangent::default();
                let evidence = derivative.vjp_into(cotangent, wanted, &mut gradient, work)?;
                let mut value = Vec::new();
                map.pull_back_into(&gradient, &mut value)?;
                Ok(derivative.checked(value, evidence))
            })
    }

    /// Directional derivative of the last forward's solution along dtheta.
    ///
    /// # Errors
    /// Those of [`ConicLayer::jvp`].
    pub fn jvp(&mut self, dtheta: &[f64]) -> Result<Checked<SolutionTangent>> {
        self.map.push_forward_into(dtheta, &mut self.data)?;
        self.layer.jvp(&self.data)
    }
}

/// The parts that depend on theta.
fn layer_data<'a>(map: &Parametrization, data: &'a DataTangent) -> LayerData<'a> {
    let wanted = map.wanted();
    LayerData {
        p: wanted.p.then_some(&data.p),
        q: wanted.q.then_some(&data.q),
        a: wanted.a.then_some(&data.a),
        b: wanted.b.then_some(&data.b),
        budget: None,
    }
}
