//! Families of Jacobians: the test of all vertices against enumeration and sampling.

use conediff::{DenseMatrix, Error, FamilyCertificate, SelectionFamily, SingularElement};

use crate::support::{Random, norm};

fn dense(n: usize, data: Vec<f64>) -> DenseMatrix {
    DenseMatrix {
        rows: n,
        cols: n,
        data,
    }
}

fn identity(n: usize) -> DenseMatrix {
    let mut data = vec![0.0; n * n];
    (0..n).for_each(|i| data[i * n + i] = 1.0);
    dense(n, data)
}

/// Gaussian elimination with partial pivoting.
fn determinant(b: &DenseMatrix) -> f64 {
    let (n, mut a) = (b.rows, b.data.clone());
    let mut product = 1.0;
    for k in 0..n {
        let largest = (k..n).max_by(|i, j| a[k * n + i].abs().total_cmp(&a[k * n + j].abs()));
        let pivot = largest.unwrap();
        if pivot != k {
            (0..n).for_each(|j| a.swap(j * n + k, j * n + pivot));
            product = -product;
        }
        let head = a[k * n + k];
        product *= head;
        if head == 0.0 {
            return 0.0;
        }
        for i in k + 1..n {
            let factor = a[k * n + i] / head;
            (k..n).for_each(|j| a[j * n + i] -= factor * a[j * n + k]);
        }
    }
    product
}

/// u, v and the bounds of one factor.
type Term = (Vec<f64>, Vec<f64>, f64, f64);

fn family(base: DenseMatrix, terms: &[Term]) -> SelectionFamily {
    let family = SelectionFamily::new(base).unwrap();
    terms.iter().fold(family, |family, (u, v, lower, upper)| {
        family.with_term(u, v, *lower, *upper).unwrap()
    })
}

/// lambda within the bounds, B(lambda) y = 0 to rounding, and determinants of opposite sign where they are claimed.
fn assert_is_singular(family: &SelectionFamily, terms: &[Term], found: &SingularElement) {
    for (l, (_, _, lower, upper)) in found.lambda.iter().zip(terms) {
        assert!(lower <= l && l <= upper);
    }
    let b = family.element(&found.lambda).unwrap();
    let n = b.rows;
    let by: Vec<f64> = (0..n)
        .map(|i| {
            (0..n)
                .map(|j| b.data[j * n + i] * found.null_vector[j])
                .sum()
        })
        .collect();
    assert!((norm(&found.null_vector) - 1.0).abs() <= 1e-14);
    let size = |t: &Term, l: f64| l.abs() * norm(&t.0) * norm(&t.1);
    let sizes = terms.iter().zip(&found.lambda).map(|(t, l)| size(t, *l));
    let size = sizes.sum::<f64>() + norm(&b.data);
    assert!(norm(&by) <= 1e-11 * size, "{:e}", norm(&by));
    assert!(found.residual <= 1e-11);
    if let Some([a, b]) = &found.opposite {
        let signs = [a, b].map(|l| determinant(&family.element(l).unwrap()).signum());
        assert_eq!(signs[0], -signs[1]);
    }
}

fn refused(family: &SelectionFamily, terms: &[Term]) -> SingularElement {
    match family.certify().unwrap() {
        FamilyCertificate::NotCertified(found) => {
            assert_is_singular(family, terms, &found);
            found
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_branches_are_not_certified_though_both_vertices_are_invertible() {
    // F = |x| - |y| at 0.
    let terms = [(vec![1.0], vec![-1.0], -1.0, 1.0)];
    let family = family(dense(1, vec![0.0]), &terms);
    for lambda in [-1.0, 1.0] {
        assert!(determinant(&family.element(&[lambda]).unwrap()).abs() == 1.0);
    }
    let found = refused(&family, &terms);
    assert_eq!(found.lambda, [0.0]);
    assert_eq!(found.opposite, Some([vec![-1.0], vec![1.0]]));
}

#[test]
fn the_difference_of_two_relus_is_not_certified() {
    // relu(s - th) - relu(th - s) = s - th written with two kinks: B = l1 + l2, and both may be 0.
    let terms = vec![(vec![1.0], vec![1.0], 0.0, 1.0); 2];
    let found = refused(&family(dense(1, vec![0.0]), &terms), &terms);
    assert_eq!((found.lambda, found.opposite), (vec![0.0; 2], None));
    // The other end: B = -l1 - l2 has its singular vertex at the upper bounds of [-1, 0]^2.
    let terms = vec![(vec![1.0], vec![1.0], -1.0, 0.0); 2];
    let found = refused(&family(dense(1, vec![0.0]), &terms), &terms);
    assert_eq!((found.lambda, found.opposite), (vec![0.0; 2], None));
    // Bounded away from 0 it is.
    let terms = vec![(vec![1.0], vec![1.0], 0.25, 1.0); 2];
    let certificate = family(dense(1, vec![0.0]), &terms).certify().unwrap();
    assert!(
        matches!(certificate, FamilyCertificate::Certified { ratio } if (ratio - 0.25).abs() < 1e-14)
    );
}

#[test]
fn random_families_agree_with_enumeration_and_sampling() {
    let (mut certified, mut opposite) = (0, 0);
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let (n, k) = (1 + random.below(5), random.below(7));
        let mut base = identity(n);
        let weight = 3.0 * random.unit();
        for b in &mut base.data {
            *b += 0.3 * random.normal();
        }
        let terms: Vec<Term> = (0..k)
            .map(|_| {
                let scaled = random.normal_vec(n).iter().map(|u| weight * u).collect();
                let lower = random.normal();
                (scaled, random.normal_vec(n), lower, lower + random.unit())
            })
            .collect();
        let family = family(base, &terms);
        let at = |lambda: &[f64]| determinant(&family.element(lambda).unwrap());
        let vertices: Vec<f64> = (0..1usize << k)
            .map(|vertex| {
                let lambda: Vec<f64> = (0..k)
                    .map(|i| {
                        if vertex >> i & 1 == 1 {
                            terms[i].3
                        } else {
                            terms[i].2
                        }
                    })
                    .collect();
                at(&lambda)
            })
            .collect();
        let is_positive = vertices[0] > 0.0;
        let expected = vertices.iter().all(|d| (*d > 0.0) == is_positive);
        let certificate = family.certify().unwrap();
        assert_eq!(certificate.is_certified(), expected, "seed {seed}");
        match certificate {
            FamilyCertificate::Certified { ratio } => {
                certified += 1;
                let sizes = vertices.iter().map(|d| d.abs());
                let least = sizes.clone().fold(f64::INFINITY, f64::min);
                let most = sizes.fold(0.0, f64::max);
                assert!((ratio / (least / most) - 1.0).abs() <= 1e-9);
                for _ in 0..200 {
                    let lambda: Vec<f64> = terms
                        .iter()
                        .map(|t| t.2 + random.unit() * (t.3 - t.2))
                        .collect();
                    let d = at(&lambda);
                    assert!((d > 0.0) == is_positive && d.abs() >= 0.999 * least);
                }
            }
            FamilyCertificate::NotCertified(found) => {
                assert_is_singular(&family, &terms, &found);
                opposite += usize::from(found.opposite.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
    println!("{certified} certified, {opposite} with vertices of opposite sign");
    assert!(certified > 150 && opposite > 150);
}

/// I - D W for W = (1 - m) I - A'A + B - B', D = diag(lambda): z = relu(Wz + x) with every row at its kink.
fn equilibrium(n: usize, m: f64, seed: u64) -> (SelectionFamily, Vec<Term>) {
    let mut random = Random::new(seed);
    let (a, b) = (random.normal_vec(n * n), random.normal_vec(n * n));
    let w = |i: usize, j: usize| {
        let gram: f64 = (0..n).map(|k| a[k * n + i] * a[k * n + j]).sum();
        let diagonal = if i == j { 1.0 - m } else { 0.0 };
        diagonal - gram + b[i * n + j] - b[j * n + i]
    };
    let terms: Vec<Term> = (0..n)
        .map(|i| {
            let mut unit = vec![0.0; n];
            unit[i] = 1.0;
            (unit, (0..n).map(|j| -w(i, j)).collect(), 0.0, 1.0)
        })
        .collect();
    (family(identity(n), &terms), terms)
}

#[test]
fn monotone_equilibria_are_certified_and_others_are_not() {
    for seed in 0..20 {
        let (family, _) = equilibrium(8, 0.1, seed);
        assert!(family.certify().unwrap().is_certified());
    }
    // A row with w_ii = 2: 1 - lambda w_ii changes its sign at 1/2.
    let (unit, row) = (vec![1.0, 0.0], vec![-2.0, 5.0]);
    let terms = [(unit, row, 0.0, 1.0)];
    let found = refused(&family(identity(2), &terms), &terms);
    assert!((found.lambda[0] - 0.5).abs() <= 1e-15);
}

#[test]
fn units_do_not_matter() {
    // Rows and columns of wildly different size: invertible, and the same ratio.
    let terms = [(vec![1.0, 2.0], vec![0.5, 1.0], 0.0, 1.0)];
    let plain = family(identity(2), &terms).certify().unwrap();
    let terms = [(vec![1e-30, 2e20], vec![0.5e10, 1e-15], 0.0, 1.0)];
    let base = dense(2, vec![1e-20, 0.0, 0.0, 1e5]);
    let scaled = family(base, &terms).certify().unwrap();
    let (FamilyCertificate::Certified { ratio: a }, FamilyCertificate::Certified { ratio: b }) =
        (plain, scaled)
    else {
        panic!("both are certified");
    };
    assert!((a / b - 1.0).abs() <= 1e-12);
    // Singular whatever the size, and nothing in between when nothing is ambiguous.
    for c in [1e-200, 1.0, 1e200] {
        let singular = family(dense(2, vec![c, 2.0 * c, 2.0 * c, 4.0 * c]), &[]);
        refused(&singular, &[]);
        let regular = family(dense(2, vec![c, 2.0 * c, 2.0 * c, 5.0 * c]), &[]);
        assert_eq!(
            regular.certify().unwrap(),
            FamilyCertificate::Certified { ratio: 1.0 }
        );
    }
    let empty = family(dense(0, Vec::new()), &[]);
    assert!(empty.certify().unwrap().is_certified());
}

#[test]
fn more_terms_than_the_limit_are_counted_and_fixed_ones_are_not() {
    let (family, terms) = equilibrium(21, 1.0, 3);
    assert_eq!(
        family.certify().unwrap(),
        FamilyCertificate::TooMany {
            ambiguous: 21,
            limit: 20
        }
    );
    let start = std::time::Instant::now();
    let fixed: Vec<Term> = terms
        .into_iter()
        .enumerate()
        .map(|(i, (u, v, lower, upper))| (u, v, lower, if i == 4 { lower } else { upper }))
        .collect();
    assert!(
        self::family(identity(21), &fixed)
            .certify()
            .unwrap()
            .is_certified()
    );
    println!("20 terms: {:?}", start.elapsed());
}

#[test]
fn families_that_are_none_are_refused() {
    let wide = DenseMatrix {
        rows: 1,
        cols: 2,
        data: vec![1.0; 2],
    };
    assert!(matches!(
        SelectionFamily::new(wide),
        Err(Error::Dimension { .. })
    ));
    let short = dense(2, vec![1.0]);
    assert!(matches!(
        SelectionFamily::new(short),
        Err(Error::Dimension { .. })
    ));
    let nan = dense(1, vec![f64::NAN]);
    assert!(matches!(
        SelectionFamily::new(nan),
        Err(Error::NonFinite { .. })
    ));
    let add = |u: &[f64], v: &[f64], lower, upper| {
        let family = SelectionFamily::new(identity(2)).unwrap();
        family.with_term(u, v, lower, upper).unwrap_err()
    };
    assert!(matches!(
        add(&[1.0], &[1.0, 0.0], 0.0, 1.0),
        Error::Dimension { .. }
    ));
    assert!(matches!(
        add(&[1.0, 0.0], &[1.0], 0.0, 1.0),
        Error::Dimension { .. }
    ));
    assert!(matches!(
        add(&[1.0, 0.0], &[1.0, 0.0], 1.0, 0.0),
        Error::Setting { .. }
    ));
    let error = add(&[1.0, 0.0], &[1.0, 0.0], f64::NAN, 1.0);
    assert!(matches!(error, Error::NonFinite { .. }));
    let family = SelectionFamily::new(identity(2)).unwrap();
    assert!(matches!(
        family.element(&[1.0]),
        Err(Error::Dimension { .. })
    ));
}
