//! What made a bundle.

/// What decides the last bits of a computation beside its input: the crate's version, the machine, the vector instructions.
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
/// use conediff::{Build, Bundle};
/// let sent = Bundle::derivative(&derivative)?.to_json();
/// // Whoever reads it sees where it comes from.
/// let build: Build = Bundle::from_json(&sent)?.build().clone();
/// assert_eq!(build, Build::this());
/// assert!(build.to_string().starts_with(&format!("conediff {} (", build.version)));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Build {
    /// The crate's version.
    pub version: String,
    /// Processor architecture and operating system, as "x86_64-linux".
    pub target: String,
    /// "debug" or "release": whether debug assertions are on.
    pub profile: String,
    /// The widest vector instructions the linear algebra finds at run time: "avx512", "avx2" or "baseline". They change the order of
    /// sums, and so the last bits.
    pub vectors: String,
}

impl Build {
    /// This build on this machine.
    pub fn this() -> Self {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            profile: profile.into(),
            vectors: vectors().into(),
        }
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            version,
            target,
            profile,
            vectors,
        } = self;
        write!(f, "conediff {version} ({target}, {profile}, {vectors})")
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx512f") {
        "avx512"
    } else if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
    {
        "avx2"
    } else {
        "baseline"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "baseline"
}
