//! A small deterministic random number generator: the same seed gives the same numbers on every machine.
//!
//! # References
//! Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014 (SplitMix64).

use crate::tangent::dot;
use std::f64::consts::TAU;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `len` numbers in [-1, 1).
    pub(crate) fn symmetric(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| 2.0 * self.uniform() - 1.0).collect()
    }

    /// Below `count`, which is positive.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    pub(crate) fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// A unit vector.
    pub(crate) fn direction(&mut self, len: usize) -> Vec<f64> {
        let mut w = self.normals(len);
        let norm = dot(&w, &w).sqrt();
        w.iter_mut().for_each(|w| *w /= norm);
        w
    }

    /// Two different indices below `count`, which is at least 2.
    pub(crate) fn pair(&mut self, count: usize) -> (usize, usize) {
        let a = self.below(count);
        (a, (a + 1 + self.below(count - 1)) % count)
    }

    /// Cosine and sine of an angle.
    pub(crate) fn turn(&mut self) -> (f64, f64) {
        let (sin, cos) = (TAU * self.uniform()).sin_cos();
        (cos, sin)
    }

    pub(crate) fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for k in (1..len).rev() {
            order.swap(k, self.below(k + 1));
        }
        order
    }
}
