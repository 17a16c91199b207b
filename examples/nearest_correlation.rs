//! The nearest correlation matrix to one estimated entry by entry, and how it follows the estimates.
//!
//!     minimize 1/2 |X - G|^2 (Frobenius)   subject to  X_ii = 1, X positive semidefinite
//!
//! G is the example of N. Higham, Computing the nearest correlation matrix, IMA J. Numer. Anal. 22, 2002.

use conediff::{
    Affine, ConeProgram, DataTangent, Derivative, ProgramBuilder, Result, Settings, solve,
};

/// Entries above the diagonal, column by column: (0, 1), (0, 2), (1, 2). G has the eigenvalue 1 - sqrt 2.
const GIVEN: [f64; 3] = [1.0, 0.0, 1.0];

fn nearest(given: &[f64; 3]) -> Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(3);
    for (k, g) in given.iter().enumerate() {
        // Each entry stands twice in the norm.
        builder.quadratic(k, k, 2.0);
        builder.linear(k, -2.0 * g);
    }
    let one = Affine::constant(1.0);
    let x = Affine::variable;
    builder.psd(3, &[one.clone(), x(0), one.clone(), x(1), x(2), one]);
    builder.build()
}

fn main() -> Result<()> {
    let settings = Settings::default();
    let program = nearest(&GIVEN)?;
    let solution = solve(&program, &settings)?;
    println!("X_01, X_02, X_12 = {:.4?}", solution.x);

    let derivative = Derivative::new(&program, &solution, &settings)?;
    println!("d(X_01, X_02, X_12) / d(G_01, G_02, G_12), by columns:");
    let step = 1e-5;
    for k in 0..3 {
        let mut tangent = DataTangent::zeros(&program);
        tangent.q[k] = -2.0;
        let column = derivative.jvp(&tangent)?;
        assert!(column.trusted);

        // Differences of solutions are worth taking because solutions are refined.
        let moved = |by: f64| -> Result<Vec<f64>> {
            let mut given = GIVEN;
            given[k] += by;
            Ok(solve(&nearest(&given)?, &settings)?.x)
        };
        let (plus, minus) = (moved(step)?, moved(-step)?);
        let difference: Vec<f64> = (0..3)
            .map(|i| (plus[i] - minus[i]) / (2.0 * step))
            .collect();
        println!("{:8.4?}   by differences {difference:8.4?}", column.value.x);
        for (d, x) in difference.iter().zip(&column.value.x) {
            assert!((d - x).abs() < 1e-8);
        }
    }
    for (found, published) in solution.x.iter().zip([0.7607, 0.1573, 0.7607]) {
        assert!((found - published).abs() < 5e-5);
    }
    Ok(())
}
