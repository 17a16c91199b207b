//! Affine maps from parameters to a program's data, and their derivatives.

use crate::error::Result;
use crate::pattern::{SparseMatrix, check_finite};
use crate::program::{ConeProgram, check_length};
use crate::residual::Wanted;
use crate::tangent::{DataCotangent, DataTangent};

/// Data that depend on parameters theta in an affine way, as after a disciplined parametrized canonicalization:
///
/// ```text
/// P = M_P theta + c_P,   q = M_q theta + c_q,   A = M_A theta + c_A,   b = M_b theta + c_b
/// ```
///
/// Here P and A stand for their stored values (P's upper triangle) in the caller's stored order, so that M_P is nnz(P) x k, M_q
/// n x k, M_A nnz(A) x k and M_b m x k, with k the length of theta. The constants c are the numbers of the program given to
/// [`Parametrization::new`]: the data at theta = 0. Only they are kept of it. A part without a map does not depend on theta.
///
/// Every call costs one pass over the maps' entries and the vectors; the `*_into` forms allocate nothing once the
/// vectors have their lengths.
///
/// ```
/// use conediff::{
///     Cone, ConeProgram, DataTangent, Derivative, Parametrization, Settings, SolutionTangent, solve,
/// };
/// // minimize 1/2 x^2 - theta1 x subject to x <= theta1 + 2 theta2
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.0],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let q = sprs::TriMat::from_triplets((1, 2), vec![0], vec![0], vec![-1.0]).to_csc();
/// let b = sprs::TriMat::from_triplets((1, 2), vec![0, 0], vec![0, 1], vec![1.0, 2.0]).to_csc();
/// let parametrization = Parametrization::new(&program, None, Some(&q), None, Some(&b))?;
///
/// // At theta = (3, -1) the bound 1 holds x, which would be 3 without it.
/// let mut data = DataTangent::default();
/// parametrization.evaluate_into(&[3.0, -1.0], &mut data)?;
/// let program = program.with_q(data.q)?.with_b(data.b)?;
/// let settings = Settings::default();
/// let solution = solve(&program, &settings)?;
/// assert!((solution.x[0] - 1.0).abs() < 1e-12);
///
/// // The gradient of x in theta is that of the bound.
/// let derivative = Derivative::new(&program, &solution, &settings)?;
/// let mut seed = SolutionTangent::zeros(&program);
/// seed.x[0] = 1.0;
/// let wanted = parametrization.wanted();
/// let gradient = derivative.vjp_wanted(&seed, wanted)?;
/// let mut theta = Vec::new();
/// parametrization.pull_back_into(&gradient.value, &mut theta)?;
/// assert!((theta[0] - 1.0).abs() < 1e-12 && (theta[1] - 2.0).abs() < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
///
/// # References
/// Agrawal, Amos, Barratt, Boyd, Diamond, Kolter, Differentiable convex optimization layers, 2019 (affine-solver-affine form).
#[derive(Debug, Clone)]
pub struct Parametrization {
    parameters: usize,
    p: Part,
    q: Part,
    a: Part,
    b: Part,
}

/// The names of one part in errors.
#[derive(Debug, Clone, Copy)]
struct Names {
    map: &'static str,
    rows: &'static str,
    columns: &'static str,
    cotangent: &'static str,
}

const P: Names = Names {
    map: "the map to P",
    rows: "rows of the map to P",
    columns: "columns of the map to P",
    cotangent: "cotangent P",
};
const Q: Names = Names {
    map: "the map to q",
    rows: "rows of the map to q",
    columns: "columns of the map to q",
    cotangent: "cotangent q",
};
const A: Names = Names {
    map: "the map to A",
    rows: "rows of the map to A",
    columns: "columns of the map to A",
    cotangent: "cotangent A",
};
const B: Names = Names {
    map: "the map to b",
    rows: "rows of the map to b",
    columns: "columns of the map to b",
    cotangent: "cotangent b",
};

/// One of P, q, A and b.
#[derive(Debug, Clone)]
struct Part {
    names: Names,
    length: usize,
    /// M and c, if it depends on theta.
    map: Option<(SparseMatrix, Vec<f64>)>,
}

impl Part {
    /// With a map, sets the number of parameters or agrees with it.
    fn new(
        names: Names,
        map: Option<&sprs::CsMat<f64>>,
        constant: Vec<f64>,
        parameters: &mut Option<usize>,
    ) -> Result<Self> {
        let length = constant.len();
        let map = match map {
            None => None,
            Some(map) => {
                check_length(names.rows, length, map.rows())?;
                let expected = *parameters.get_or_insert(map.cols());
                check_length(names.columns, expected, map.cols())?;
                Some((SparseMatrix::from_sprs(names.map, map)?, constant))
            }
        };
        Ok(Self { names, length, map })
    }

    /// M theta + c, or nothing if it does not depend on theta.
    fn evaluate(&self, theta: &[f64], out: &mut Vec<f64>) {
        out.clear();
        if let Some((map, constant)) = &self.map {
            out.extend_from_slice(constant);
            map.multiply_add(1.0, theta, out);
        }
    }

    /// M dtheta.
    fn push_forward(&self, dtheta: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.resize(self.length, 0.0);
        if let Some((map, _)) = &self.map {
            map.multiply_add(1.0, dtheta, out);
        }
    }

    fn check(&self, gradient: &[f64]) -> Result<()> {
        if self.map.is_none() && gradient.is_empty() {
            return Ok(());
        }
        check_length(self.names.cotangent, self.length, gradient.len())?;
        check_finite(self.names.cotangent, gradient)
    }

    /// out += M'gradient.
    fn pull_back(&self, gradient: &[f64], out: &mut [f64]) {
        if let Some((map, _)) = &self.map {
            map.multiply_transpose_add(1.0, gradient, out);
        }
    }
}

impl Parametrization {
    /// From the four maps, by columns or by rows; `None` for a part that does not depend on theta. The program gives the
    /// constants and the lengths.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`] for a map whose rows are not its part's values, or whose columns are not those of the maps
    /// before it (in the order P, q, A, b); [`crate::Error::Pattern`], [`crate::Error::NonFinite`];
    /// [`crate::Error::TooLarge`] for more columns than memory.
    pub fn new(
        program: &ConeProgram,
        p: Option<&sprs::CsMat<f64>>,
        q: Option<&sprs::CsMat<f64>>,
        a: Option<&sprs::CsMat<f64>>,
        b: Option<&sprs::CsMat<f64>>,
    ) -> Result<Self> {
        let mut k = None;
        Ok(Self {
            p: Part::new(P, p, program.p().stored_values(), &mut k)?,
            q: Part::new(Q, q, program.q().to_vec(), &mut k)?,
            a: Part::new(A, a, program.a().stored_values(), &mut k)?,
            b: Part::new(B, b, program.b().to_vec(), &mut k)?,
            parameters: k.unwrap_or(0),
        })
    }

    /// k, the number of parameters; 0 if nothing depends on any.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The lengths of P, q, A and b.
    pub(crate) fn lengths(&self) -> [usize; 4] {
        [&self.p, &self.q, &self.a, &self.b].map(|part| part.length)
    }

    /// The parts that depend on theta: those whose gradients [`Parametrization::pull_back_into`] reads.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            p: self.p.map.is_some(),
            q: self.q.map.is_some(),
            a: self.a.map.is_some(),
            b: self.b.map.is_some(),
        }
    }

    /// The data at theta (k): M theta + c. A part that does not depend on theta is left empty. `out` takes any lengths.
    ///
    /// The numbers are not checked: [`ConeProgram::with_values`], [`ConeProgram::with_q`] and [`ConeProgram::with_b`] do that.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`] for theta.
    pub fn evaluate_into(&self, theta: &[f64], out: &mut DataTangent) -> Result<()> {
        self.check("theta", theta)?;
        self.p.evaluate(theta, &mut out.p);
        self.q.evaluate(theta, &mut out.q);
        self.a.evaluate(theta, &mut out.a);
        self.b.evaluate(theta, &mut out.b);
        Ok(())
    }

    /// The direction in the data that dtheta (k) causes: M dtheta, zero in the parts that do not depend on theta. `out`
    /// takes any lengths.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`] for dtheta.
    pub fn push_forward_into(&self, dtheta: &[f64], out: &mut DataTangent) -> Result<()> {
        self.check("dtheta", dtheta)?;
        self.p.push_forward(dtheta, &mut out.p);
        self.q.push_forward(dtheta, &mut out.q);
        self.a.push_forward(dtheta, &mut out.a);
        self.b.push_forward(dtheta, &mut out.b);
        Ok(())
    }

    /// The gradient in theta (k) from that in the data: the sum of M'g over the parts that depend on theta. The others may
    /// be empty, and are not used. `out` takes any length.
    ///
    /// # Errors
    /// [`crate::Error::Dimension`], [`crate::Error::NonFinite`] for the gradient.
    pub fn pull_back_into(&self, gradient: &DataCotangent, out: &mut Vec<f64>) -> Result<()> {
        let parts = [
            (&self.p, &gradient.p),
            (&self.q, &gradient.q),
            (&self.a, &gradient.a),
            (&self.b, &gradient.b),
        ];
        for (part, gradient) in parts {
            part.check(gradient)?;
        }
        out.clear();
        out.resize(self.parameters, 0.0);
        for (part, gradient) in parts {
            part.pull_back(gradient, out);
        }
        Ok(())
    }

    fn check(&self, what: &'static str, theta: &[f64]) -> Result<()> {
        check_length(what, self.parameters, theta.len())?;
        check_finite(what, theta)
    }
}
