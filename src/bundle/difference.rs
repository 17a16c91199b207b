//! Two outcomes compared, number by number.

use serde_json::{Map, Value};
use std::fmt;

/// Where two outcomes differ, by as little as one bit.
///
/// ```
/// # use conediff::{Cone, ConeProgram, Derivative, Settings, SolutionTangent, solve};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// # let settings = Settings::default();
/// # let derivative = Derivative::new(&program, &solve(&program, &settings)?, &settings)?;
/// # let seed = SolutionTangent { x: vec![1.0], ..SolutionTangent::zeros(&program) };
/// use conediff::{Bundle, Difference};
/// // minimize 1/2 x^2 - x subject to x <= 1/4: dx/db = 1, which somebody claims to have seen as 2
/// let mut gradient = derivative.vjp(&seed)?;
/// gradient.value.b[0] = 2.0;
/// let replay = Bundle::vjp(&derivative, &seed, &Ok(gradient))?.replay();
/// let seen: &Difference = &replay.history[0];
/// assert_eq!((seen.path.as_str(), seen.count), ("value.b[0]", 1));
/// assert!((seen.relative - 0.5).abs() < 1e-12 && replay.differences.is_empty());
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Which part: `value.b[3]` (the first entry of a list that differs), `evidence.residual`, `error.status`.
    pub path: String,
    /// What was recorded there; "-" where nothing was.
    pub recorded: String,
    /// What came now; "-" where nothing did.
    pub now: String,
    /// How many numbers of a list differ; 1 for what is no list.
    pub count: usize,
    /// The largest |recorded - now| over the largest entry of both lists, or over the larger of two numbers; infinite where they are no
    /// finite numbers.
    #[serde(with = "crate::exact::number")]
    pub relative: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            recorded,
            now,
            count,
            relative,
        } = self;
        write!(f, "{path}: recorded {recorded}, now {now}")?;
        if *count > 1 {
            write!(f, ", and {} more entries differ", count - 1)?;
        }
        if relative.is_finite() {
            write!(f, " (relative difference {relative:.1e})")?;
        }
        Ok(())
    }
}

/// Every difference of two outcomes.
pub(super) fn all(recorded: &Value, now: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(recorded), Some(now), &mut found);
    found
}

fn compare(path: &str, recorded: Option<&Value>, now: Option<&Value>, found: &mut Vec<Difference>) {
    match (recorded, now) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for key in keys(a, b) {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(&path, a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            let is_list = |list: &[Value]| list.iter().all(|x| number(x).is_some());
            if is_list(a) && is_list(b) {
                found.extend(of_lists(path, a, b));
            } else {
                for (k, (a, b)) in a.iter().zip(b).enumerate() {
                    compare(&format!("{path}[{k}]"), Some(a), Some(b), found);
                }
            }
        }
        (Some(a), Some(b)) if is_same(a, b) => {}
        (a, b) => {
            let both = a.zip(b);
            found.push(Difference {
                path: path.to_string(),
                recorded: short(a),
                now: short(b),
                count: 1,
                relative: both.map_or(f64::INFINITY, |(a, b)| {
                    let size = |x| number(x).map_or(0.0, f64::abs);
                    relative(a, b, size(a).max(size(b)))
                }),
            });
        }
    }
}

/// Those of either, in order, each once.
fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> Vec<&'a String> {
    let only_b = b.keys().filter(|key| !a.contains_key(*key));
    a.keys().chain(only_b).collect()
}

fn of_lists(path: &str, a: &[Value], b: &[Value]) -> Option<Difference> {
    let differing: Vec<usize> = (0..a.len()).filter(|&k| !is_same(&a[k], &b[k])).collect();
    let first = *differing.first()?;
    let finite = a
        .iter()
        .chain(b)
        .filter_map(number)
        .filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |m: f64, x| m.max(x.abs()));
    Some(Difference {
        path: format!("{path}[{first}]"),
        recorded: short(Some(&a[first])),
        now: short(Some(&b[first])),
        count: differing.len(),
        relative: differing
            .iter()
            .fold(0.0, |m: f64, &k| m.max(relative(&a[k], &b[k], largest))),
    })
}

/// The same bits. JSON values alone take -0 for 0.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() && y.is_f64() => {
            x.as_f64().map(f64::to_bits) == y.as_f64().map(f64::to_bits)
        }
        _ => a == b,
    }
}

fn number(x: &Value) -> Option<f64> {
    match x {
        Value::Number(x) => x.as_f64(),
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

/// |a - b| / size.
fn relative(a: &Value, b: &Value, size: f64) -> f64 {
    match (number(a), number(b)) {
        // -0 and 0 are this near.
        (Some(a), Some(b)) if a == b => 0.0,
        // Halves, so that the difference of the largest numbers does not overflow.
        (Some(a), Some(b)) if a.is_finite() && b.is_finite() => {
            (a / 2.0 - b / 2.0).abs() / (size / 2.0)
        }
        _ => f64::INFINITY,
    }
}

/// A value in at most a line.
pub(super) fn short(x: Option<&Value>) -> String {
    match x {
        None => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => format!("a list of {}", list.len()),
        Some(Value::Object(_)) => "an object".into(),
        Some(other) => other.to_string(),
    }
}
