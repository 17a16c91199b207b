//! Two large programs: a quadratic program with 50,000 bounded variables, and a minimum-cost flow of 10,000 arcs.
//!
//! Each is solved, differentiated and reported on. The gradient is compared with one that is known without any linear system: at the
//! solution found, a seed is made for a gradient that was drawn (`Generated::known_vjp`).

use conediff::{Cone, ConeProgram, Derivative, Generated, Regularity, Settings, regularity, solve};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Uniform numbers in [0, 1) by a linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Columns of (row, value), as compressed columns.
fn compressed(columns: &[Vec<(usize, f64)>]) -> (Vec<usize>, Vec<usize>, Vec<f64>) {
    let mut start = vec![0];
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for column in columns {
        rows.extend(column.iter().map(|e| e.0));
        values.extend(column.iter().map(|e| e.1));
        start.push(rows.len());
    }
    (start, rows, values)
}

fn program(
    p: &[Vec<(usize, f64)>],
    q: Vec<f64>,
    a: &[Vec<(usize, f64)>],
    b: Vec<f64>,
    cones: Vec<Cone>,
) -> Result<ConeProgram> {
    let ((ps, pr, pv), (at, ar, av)) = (compressed(p), compressed(a));
    let (p, a) = ((&ps[..], &pr[..], &pv[..]), (&at[..], &ar[..], &av[..]));
    Ok(ConeProgram::from_csc(p, q, a, b, cones)?)
}

/// minimize 1/2 x'Px + q'x subject to 0 <= x <= 1, P tridiagonal.
fn bounded(n: usize, random: &mut Random) -> Result<ConeProgram> {
    let mut p = Vec::with_capacity(n);
    for j in 0..n {
        let mut column = Vec::new();
        if j > 0 {
            column.push((j - 1, -0.5 * random.next()));
        }
        column.push((j, 1.0 + random.next()));
        p.push(column);
    }
    let q = (0..n).map(|_| 4.0 * random.next() - 3.0).collect();
    let a: Vec<_> = (0..n).map(|j| vec![(j, 1.0), (n + j, -1.0)]).collect();
    let b = (0..2 * n).map(|i| f64::from(u8::from(i < n))).collect();
    program(&p, q, &a, b, vec![Cone::Nonnegative(2 * n)])
}

/// minimize c'x subject to a flow x >= 0 through a ring of `nodes` with `arcs` arcs, which brings what each node supplies to where it is
/// asked for. The last node's balance follows from the others' and is left out.
fn flow(nodes: usize, arcs: usize, random: &mut Random) -> Result<ConeProgram> {
    let (mut a, mut cost) = (Vec::with_capacity(arcs), Vec::with_capacity(arcs));
    for k in 0..arcs {
        let from = k % nodes;
        // The first arcs are the ring: everything can be reached.
        let step = match k < nodes {
            true => 1,
            false => 2 + (random.next() * (nodes - 3) as f64) as usize,
        };
        let to = (from + step) % nodes;
        let mut ends = [(from, 1.0), (to, -1.0)];
        ends.sort_by_key(|e| e.0);
        let mut column: Vec<_> = ends.into_iter().filter(|e| e.0 < nodes - 1).collect();
        column.push((nodes - 1 + k, -1.0));
        a.push(column);
        cost.push(1.0 + 9.0 * random.next());
    }
    let mut supply: Vec<f64> = (0..nodes).map(|_| random.next() - 0.5).collect();
    let mean = supply.iter().sum::<f64>() / nodes as f64;
    supply.iter_mut().for_each(|s| *s -= mean);
    supply.truncate(nodes - 1);
    supply.resize(nodes - 1 + arcs, 0.0);
    let cones = vec![Cone::Zero(nodes - 1), Cone::Nonnegative(arcs)];
    program(&vec![Vec::new(); arcs], cost, &a, supply, cones)
}

/// The largest resident memory so far, in MiB; 0 where the system does not tell.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

fn relative(a: &[f64], b: &[f64]) -> f64 {
    let largest = b.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    let pairs = a.iter().zip(b);
    pairs.fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn main() -> Result<()> {
    let mut random = Random(5);
    let programs = [
        ("bounded QP", bounded(50_000, &mut random)?),
        ("flow LP", flow(2_000, 10_000, &mut random)?),
    ];
    let bar = ProgressBar::new(4 * programs.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let mut lines = Vec::new();
    for (name, program) in &programs {
        let settings = Settings::default();
        let mut seconds = Vec::new();
        let mut timed = |what: &str, start: Instant| {
            seconds.push(start.elapsed().as_secs_f64());
            bar.set_message(format!("{name}: {what}"));
            bar.inc(1);
        };
        let start = Instant::now();
        let solution = solve(program, &settings)?;
        timed("solved", start);
        let generated = Generated::from_solution(program, &solution)?;
        let (seed, expected) = generated.known_vjp(1);
        let start = Instant::now();
        let derivative = Derivative::new(program, &solution, &settings)?;
        timed("prepared", start);
        let start = Instant::now();
        let gradient = derivative.vjp(&seed)?;
        timed("differentiated", start);
        let start = Instant::now();
        let report: Regularity = regularity(program, &solution, &settings)?;
        timed("reported", start);

        let value = &gradient.value;
        let error = relative(&value.q, &expected.q)
            .max(relative(&value.b, &expected.b))
            .max(relative(&value.a, &expected.a))
            .max(relative(&value.p, &expected.p));
        assert!(gradient.trusted, "{name}: {:?}", gradient.warnings);
        assert!(error <= 1e-9, "{name}: off by {error:e}");
        let nnz = program.p().nnz() + program.a().nnz();
        lines.push(format!(
            "{name:10} {:7} {:7} {nnz:8} {:8.2} {:8.2} {:8.2} {:8.2} {:6.0} {error:8.1e}   {}",
            program.n(),
            program.m(),
            seconds[0],
            seconds[1],
            seconds[2],
            seconds[3],
            peak(),
            match report.is_certified() {
                true => "certified",
                false => "not certified",
            }
        ));
    }
    bar.finish_and_clear();
    println!(
        "program          n       m      nnz  solve, s  prepare      vjp   report  MiB     error   certificate"
    );
    for line in lines {
        println!("{line}");
    }
    Ok(())
}
