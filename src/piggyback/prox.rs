//! Proximal maps with kinks: thresholds, boxes, cones. Their one parameter is the weight t.

use super::kink_weight::KinkWeight;
use super::map::{ParametricMap, check, check_transpose};
use crate::cone::{Cone, row_ranges, validate};
use crate::error::{Error, Result};
use crate::pattern::check_finite;
use crate::program::check_length;
use crate::projection::Projection;

/// An element [A B] with A diagonal and B one column.
///
/// ```
/// use conediff::piggyback::{BoxProjection, ParametricMap, SoftThreshold, Thresholded};
/// let mut out = [0.0; 2];
/// // Below the threshold nothing moves; above it x follows v, and falls with t.
/// let Thresholded { slopes, weight } = SoftThreshold::new(vec![1.0; 2])?.value(0, &[0.5, 3.0], &[1.0], &mut out)?;
/// assert_eq!((slopes, weight), (vec![0.0, 1.0], vec![0.0, -1.0]));
/// // A projection has no weight to depend on.
/// let element = BoxProjection::new(vec![0.0; 2], vec![1.0; 2])?.value(0, &[0.5, 3.0], &[1.0], &mut out)?;
/// assert_eq!(element, Thresholded { slopes: vec![1.0, 0.0], weight: vec![] });
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholded {
    /// The diagonal of A, n.
    pub slopes: Vec<f64>,
    /// B, n; empty for 0.
    pub weight: Vec<f64>,
}

impl Thresholded {
    fn apply(&self, dv: &[f64], dt: &[f64], out: &mut [f64]) {
        for (out, (a, dv)) in out.iter_mut().zip(self.slopes.iter().zip(dv)) {
            *out = a * dv;
        }
        for dt in dt {
            for (out, b) in out.iter_mut().zip(&self.weight) {
                *out += b * dt;
            }
        }
    }

    fn apply_transpose(&self, w: &[f64], dv: &mut [f64], dt: &mut [f64]) {
        for (dv, (a, w)) in dv.iter_mut().zip(self.slopes.iter().zip(w)) {
            *dv = a * w;
        }
        dt.fill(crate::tangent::dot(&self.weight, w));
    }
}

/// Soft thresholding, the proximal map of a weighted l1 norm.
///
/// ```text
/// g(x) = sum_i weights_i |x_i|,   prox_{t g}(v)_i = sign(v_i) max(|v_i| - t weights_i, 0)
/// A = diag(d),   B_i = -d_i weights_i sign(v_i),   d_i = 1 above the threshold, 0 below
/// ```
///
/// v: n; t >= 0 is the parameter. At the threshold d_i = w, the weight of [`KinkWeight`]; where the threshold is 0 nothing
/// is done and d_i = 1.
///
/// ```
/// use conediff::piggyback::{ParametricMap, SoftThreshold, Thresholded};
/// let mut out = [0.0; 3];
/// let element: Thresholded = SoftThreshold::new(vec![1.0; 3])?.value(0, &[3.0, -0.5, -2.0], &[1.0], &mut out)?;
/// assert_eq!((out, element.weight), ([2.0, 0.0, -1.0], vec![-1.0, 0.0, 1.0]));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SoftThreshold {
    weights: Vec<f64>,
    kink: KinkWeight,
}

impl SoftThreshold {
    /// With the weight of each coordinate, n numbers >= 0.
    ///
    /// # Errors
    /// [`Error::NonFinite`]; [`Error::Setting`] for a negative one.
    pub fn new(weights: Vec<f64>) -> Result<Self> {
        check_finite("weights", &weights)?;
        if let Some(&value) = weights.iter().find(|w| **w < 0.0) {
            return Err(Error::Setting {
                name: "weight of the l1 norm",
                value,
                allowed: "at least 0",
            });
        }
        Ok(Self {
            weights,
            kink: KinkWeight::default(),
        })
    }

    /// With another weight of the slope 1 at the threshold.
    ///
    /// # Errors
    /// Those of [`KinkWeight::validate`].
    pub fn with_kink(mut self, kink: KinkWeight) -> Result<Self> {
        kink.validate()?;
        self.kink = kink;
        Ok(self)
    }
}

impl ParametricMap for SoftThreshold {
    type Element = Thresholded;

    fn dimension(&self) -> usize {
        self.weights.len()
    }
    fn parameters(&self) -> usize {
        1
    }

    fn value(&self, number: usize, v: &[f64], t: &[f64], out: &mut [f64]) -> Result<Thresholded> {
        check(self, v, t, out)?;
        let t = t.first().copied().unwrap_or(0.0);
        if t < 0.0 {
            return Err(Error::Setting {
                name: "t lambda of the l1 norm",
                value: t,
                allowed: "at least 0",
            });
        }
        let at_kink = self.kink.at(number);
        let mut slopes = Vec::with_capacity(v.len());
        let mut weight = Vec::with_capacity(v.len());
        for (out, (v, w)) in out.iter_mut().zip(v.iter().zip(&self.weights)) {
            let (size, threshold) = (v.abs(), t * w);
            *out = (size - threshold).max(0.0).copysign(*v);
            let slope = if size > threshold || threshold == 0.0 {
                1.0
            } else if size < threshold {
                0.0
            } else {
                at_kink
            };
            slopes.push(slope);
            // -0 is not worth a sign.
            weight.push(if slope > 0.0 && size > 0.0 {
                -slope * w * v.signum()
            } else {
                0.0
            });
        }
        Ok(Thresholded { slopes, weight })
    }

    fn apply(&self, e: &Thresholded, dv: &[f64], dt: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dv, dt, out)?;
        e.apply(dv, dt, out);
        Ok(())
    }

    fn apply_transpose(
        &self,
        e: &Thresholded,
        w: &[f64],
        dv: &mut [f64],
        dt: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dv, dt)?;
        e.apply_transpose(w, dv, dt);
        Ok(())
    }
}

/// The projection onto a box.
///
/// ```text
/// prox(v)_i = min(max(v_i, lower_i), upper_i),   A = diag(d),   B = 0,   d_i = 1 inside, 0 outside
/// ```
///
/// v: n; the parameter t has no effect. At a bound d_i = w, the weight of [`KinkWeight`]; 0 where both bounds are equal.
///
/// ```
/// use conediff::piggyback::{BoxProjection, ParametricMap};
/// let mut out = [0.0; 2];
/// let element = BoxProjection::new(vec![0.0; 2], vec![1.0; 2])?.value(0, &[0.5, 2.0], &[1.0], &mut out)?;
/// assert_eq!((out, element.slopes), ([0.5, 1.0], vec![1.0, 0.0]));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BoxProjection {
    lower: Vec<f64>,
    upper: Vec<f64>,
    kink: KinkWeight,
}

impl BoxProjection {
    /// Between the bounds, n numbers each, which may be infinite.
    ///
    /// # Errors
    /// [`Error::Dimension`]; [`Error::Setting`] for a lower bound that is not at most the upper one.
    pub fn new(lower: Vec<f64>, upper: Vec<f64>) -> Result<Self> {
        check_length("upper", lower.len(), upper.len())?;
        let is_wrong = |(l, u): &(&f64, &f64)| l.is_nan() || u.is_nan() || l > u;
        if let Some((&value, _)) = lower.iter().zip(&upper).find(is_wrong) {
            return Err(Error::Setting {
                name: "lower",
                value,
                allowed: "at most upper",
            });
        }
        Ok(Self {
            lower,
            upper,
            kink: KinkWeight::default(),
        })
    }

    /// With another weight of the slope 1 at the bounds.
    ///
    /// # Errors
    /// Those of [`KinkWeight::validate`].
    pub fn with_kink(mut self, kink: KinkWeight) -> Result<Self> {
        kink.validate()?;
        self.kink = kink;
        Ok(self)
    }
}

impl ParametricMap for BoxProjection {
    type Element = Thresholded;

    fn dimension(&self) -> usize {
        self.lower.len()
    }
    fn parameters(&self) -> usize {
        1
    }

    fn value(&self, number: usize, v: &[f64], t: &[f64], out: &mut [f64]) -> Result<Thresholded> {
        check(self, v, t, out)?;
        let at_kink = self.kink.at(number);
        let bounds = self.lower.iter().zip(&self.upper);
        let slopes = out.iter_mut().zip(v.iter().zip(bounds));
        let slopes = slopes.map(|(out, (v, (lower, upper)))| {
            *out = v.max(*lower).min(*upper);
            if v > lower && v < upper {
                1.0
            } else if lower < upper && (v == lower || v == upper) {
                at_kink
            } else {
                0.0
            }
        });
        Ok(Thresholded {
            slopes: slopes.collect(),
            weight: Vec::new(),
        })
    }

    fn apply(&self, e: &Thresholded, dv: &[f64], dt: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dv, dt, out)?;
        e.apply(dv, dt, out);
        Ok(())
    }

    fn apply_transpose(
        &self,
        e: &Thresholded,
        w: &[f64],
        dv: &mut [f64],
        dt: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dv, dt)?;
        e.apply_transpose(w, dv, dt);
        Ok(())
    }
}

/// The projection onto a product K of cones.
///
/// ```text
/// prox(v) = Pi_K(v) = v + Pi_{K*}(-v),   A = I - D with D an element for Pi_{K*} at -v,   B = 0
/// ```
///
/// v: m rows in the cones' order; the parameter t has no effect. The element at a kink is that of [`Projection`].
///
/// ```
/// use conediff::Cone;
/// use conediff::piggyback::{ConeProjection, ParametricMap};
/// let mut out = [0.0; 3];
/// ConeProjection::new(vec![Cone::SecondOrder(3)])?.value(0, &[0.0, 3.0, 4.0], &[1.0], &mut out)?;
/// assert_eq!(out, [2.5, 1.5, 2.0]);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConeProjection {
    cones: Vec<Cone>,
    rows: usize,
}

impl ConeProjection {
    /// Onto the product of the cones.
    ///
    /// # Errors
    /// [`Error::Cone`].
    pub fn new(cones: Vec<Cone>) -> Result<Self> {
        let rows = row_ranges(&cones).last().map_or(0, |r| r.end);
        validate(&cones, rows)?;
        Ok(Self { cones, rows })
    }
}

impl ParametricMap for ConeProjection {
    type Element = Projection;

    fn dimension(&self) -> usize {
        self.rows
    }
    fn parameters(&self) -> usize {
        1
    }

    fn value(&self, _number: usize, v: &[f64], t: &[f64], out: &mut [f64]) -> Result<Projection> {
        check(self, v, t, out)?;
        let opposite: Vec<f64> = v.iter().map(|v| -v).collect();
        let projection = Projection::new(&self.cones, &opposite)?;
        out.copy_from_slice(projection.s());
        Ok(projection)
    }

    fn apply(&self, e: &Projection, dv: &[f64], dt: &[f64], out: &mut [f64]) -> Result<()> {
        check(self, dv, dt, out)?;
        e.apply_complement(dv, out)
    }

    fn apply_transpose(
        &self,
        e: &Projection,
        w: &[f64],
        dv: &mut [f64],
        dt: &mut [f64],
    ) -> Result<()> {
        check_transpose(self, w, dv, dt)?;
        dt.fill(0.0);
        e.apply_complement(w, dv)
    }
}
