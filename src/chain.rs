//! The chain rule: derivatives of y = g(x) and z = h(y), one after the other, forward and reverse.

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::linsolve::Evidence;
use crate::meaning::Meaning;
use crate::operator::{LinearOperator, product};
use crate::program::check_length;
use crate::tangent::{DataTangent, SolutionTangent};

/// The derivative of a map at a point: x has `inputs`, y `outputs` entries.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// use conediff::{DenseMatrix, DerivativeMap, Smooth};
/// /// <J dx, gy> - <dx, J'gy>, 0 for any map.
/// fn mismatch(map: &dyn DerivativeMap, dx: &[f64], gy: &[f64]) -> conediff::Result<f64> {
///     let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
///     Ok(dot(&map.push_forward(dx)?.value, gy) - dot(dx, &map.pull_back(gy)?.value))
/// }
/// // From the stored P, q, A, b to x, z, s of a program in one variable with one row.
/// assert_eq!((derivative.inputs(), derivative.outputs()), (4, 3));
/// assert!(mismatch(&derivative, &[1.0, 2.0, 3.0, 4.0], &[1.0, -1.0, 2.0])?.abs() < 1e-12);
/// let matrix = DenseMatrix { rows: 2, cols: 1, data: vec![3.0, 4.0] };
/// assert_eq!(mismatch(&Smooth(matrix), &[2.0], &[1.0, 1.0])?, 0.0);
/// # Ok::<(), conediff::Error>(())
/// ```
pub trait DerivativeMap {
    /// Length of x.
    fn inputs(&self) -> usize;
    /// Length of y.
    fn outputs(&self) -> usize;
    /// dy from dx.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`]; [`Error::NotTrusted`] under `strict`.
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>>;
    /// The gradient in x from that in y.
    ///
    /// # Errors
    /// Those of [`DerivativeMap::push_forward`].
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>>;
}

impl<T: DerivativeMap + ?Sized> DerivativeMap for &T {
    fn inputs(&self) -> usize {
        (**self).inputs()
    }
    fn outputs(&self) -> usize {
        (**self).outputs()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        (**self).push_forward(dx)
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        (**self).pull_back(gy)
    }
}

/// The derivative of a smooth map known by its Jacobian, a matrix or an operator: nothing is solved, nothing is in doubt.
///
/// ```
/// use conediff::{DenseMatrix, DerivativeMap, Smooth};
/// let map = Smooth(DenseMatrix { rows: 1, cols: 2, data: vec![3.0, 4.0] });
/// assert_eq!(map.push_forward(&[1.0, 1.0])?.value, [7.0]);
/// assert_eq!(map.pull_back(&[2.0])?.value, [6.0, 8.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Smooth<A>(pub A);

impl<A: LinearOperator> DerivativeMap for Smooth<A> {
    fn inputs(&self) -> usize {
        self.0.cols()
    }
    fn outputs(&self) -> usize {
        self.0.rows()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        Ok(certain(product(&self.0, "dx", dx, false)?))
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        Ok(certain(product(&self.0, "gradient in y", gy, true)?))
    }
}

fn certain(value: Vec<f64>) -> Checked<Vec<f64>> {
    Checked {
        value,
        meaning: Meaning::Derivative,
        evidence: Evidence::of_product(),
        trusted: true,
        warnings: Vec::new(),
    }
}

/// From the stored values of (P, q, A, b) to (x, z, s), each stacked.
impl DerivativeMap for Derivative {
    fn inputs(&self) -> usize {
        DataTangent::lengths(self.program()).iter().sum()
    }
    fn outputs(&self) -> usize {
        self.program().n() + 2 * self.program().m()
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("dx", self.inputs(), dx.len())?;
        let tangent = DataTangent::from_stacked(dx, DataTangent::lengths(self.program()));
        Ok(self.jvp(&tangent)?.map(|t| [t.x, t.z, t.s].concat()))
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        check_length("gradient in y", self.outputs(), gy.len())?;
        let (n, m) = (self.program().n(), self.program().m());
        let seed = SolutionTangent::from_stacked(gy, n, m);
        Ok(self.vjp(&seed)?.map(|t| [t.p, t.q, t.a, t.b].concat()))
    }
}

/// The derivative of a composition, first map first. It is trusted if every map's is; its warnings are all of theirs, its evidence and
/// its meaning the worst of them. A product of elements of conservative Jacobians is an element of one for the composition.
///
/// Forward and reverse cost the sum of the maps' costs.
///
/// ```
/// use conediff::{Chain, DenseMatrix, DerivativeMap, Elements, ImplicitFunction, Linearization, Settings, Smooth};
/// // y = 3 x, and z^3 + z = y at y = 2, z = 1: dz/dx = 3 / 4
/// let scalar = |v: f64| DenseMatrix { rows: 1, cols: 1, data: vec![v] };
/// let cubic = ImplicitFunction::new(
///     Linearization { y: vec![1.0], f: vec![0.0], a: scalar(-1.0), b: scalar(4.0).to_sparse("B")? },
///     &Elements::Single, &Settings::default())?;
/// let chain = Chain::new(vec![Box::new(Smooth(scalar(3.0))), Box::new(cubic)])?;
/// let gradient = chain.pull_back(&[1.0])?;
/// assert!(gradient.trusted && (gradient.value[0] - 0.75).abs() < 1e-15);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Bolte, Pauwels, Conservative set valued fields, automatic differentiation, stochastic gradient methods and deep learning, 2021,
/// Lemma 5.
pub struct Chain<'a> {
    maps: Vec<Box<dyn DerivativeMap + 'a>>,
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("maps", &self.maps.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Chain<'a> {
    /// From the maps in the order they are applied.
    ///
    /// # Errors
    /// [`Error::Empty`] without a map, [`Error::Dimension`] where one map's outputs are not the next one's inputs.
    pub fn new(maps: Vec<Box<dyn DerivativeMap + 'a>>) -> Result<Self> {
        if maps.is_empty() {
            return Err(Error::Empty {
                what: "the list of maps",
            });
        }
        for (first, second) in maps.iter().zip(maps.iter().skip(1)) {
            let outputs = first.outputs();
            check_length("inputs of the next map", outputs, second.inputs())?;
        }
        Ok(Self { maps })
    }

    fn run<'b>(
        &'b self,
        maps: impl Iterator<Item = &'b Box<dyn DerivativeMap + 'a>>,
        vector: &[f64],
        apply: impl Fn(&dyn DerivativeMap, &[f64]) -> Result<Checked<Vec<f64>>>,
    ) -> Result<Checked<Vec<f64>>>
    where
        'a: 'b,
    {
        let mut so_far = certain(vector.to_vec());
        for map in maps {
            let next = apply(map.as_ref(), &so_far.value)?;
            so_far = Checked {
                value: next.value,
                meaning: so_far.meaning.worst(next.meaning),
                evidence: so_far.evidence.worst(next.evidence),
                trusted: so_far.trusted && next.trusted,
                warnings: [so_far.warnings, next.warnings].concat(),
            };
        }
        Ok(so_far)
    }
}

impl DerivativeMap for Chain<'_> {
    fn inputs(&self) -> usize {
        self.maps.first().map_or(0, |map| map.inputs())
    }
    fn outputs(&self) -> usize {
        self.maps.last().map_or(0, |map| map.outputs())
    }
    fn push_forward(&self, dx: &[f64]) -> Result<Checked<Vec<f64>>> {
        self.run(self.maps.iter(), dx, |map, u| map.push_forward(u))
    }
    fn pull_back(&self, gy: &[f64]) -> Result<Checked<Vec<f64>>> {
        self.run(self.maps.iter().rev(), gy, |map, u| map.pull_back(u))
    }
}
