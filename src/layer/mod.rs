//! The conic layer: one structure, many data.
//!
//! A layer is made for the patterns and cones of one program. It owns what depends on them alone (Clarabel's set-up, orderings,
//! index maps, the choice among solvers, timed once) and for each item of a batch what its derivatives need: one factorization,
//! which Newton, the VJP, the JVP, the Jacobian and the certificate share.
//!
//! ```text
//! forward    warm start -> cheap solver at 1e-6 -> full solver, each followed by Newton and accepted by the residual alone
//! backward   one refined solve with the item's factorization
//! ```
//!
//! Memory in bytes, with K the reduced system (nnz(P) + nnz(A) + n + m entries, more on curved cones): for the structure about 16 an
//! entry of K, 8 an entry of the sparse factor's pattern, and Clarabel's own, once for each thread; for an item 16 an entry of K (24 if
//! the factor is sparse), 8 an entry of the factor (N^2 of them for N active rows and columns if it is dense), and about 200 (n + m).
//! [`ConicLayer::item_bytes`] tells; benches/README.md has it for every family.

mod forward;
mod parametrized;
mod settings;

pub use forward::ForwardPath;
pub use parametrized::ParametrizedLayer;
pub use settings::{ForwardSolver, LayerSettings, WarmStart};

use crate::derivative::{Checked, Derivative};
use crate::error::{Error, Result};
use crate::limit::{self, Budget};
use crate::linsolve::{Evidence, Structure};
use crate::program::ConeProgram;
use crate::residual::Wanted;
use crate::solution::Solution;
use crate::tangent::{DataCotangent, DataTangent, SolutionCotangent, SolutionTangent};
use forward::{Item, Shared, Worker};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The values of one item; what is `None` is that of the program the layer was made for, and nothing that depends on it alone is
/// done again. Shapes: p: nnz of P's stored triangle, q: n, a: nnz of A, b: m; p and a in the caller's stored order.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerData<'a> {
    /// Values of P.
    pub p: Option<&'a [f64]>,
    /// q.
    pub q: Option<&'a [f64]>,
    /// Values of A.
    pub a: Option<&'a [f64]>,
    /// b.
    pub b: Option<&'a [f64]>,
    /// What this item's forward may take, beside the budget of the whole call.
    pub budget: Option<&'a Budget>,
}

impl<'a> LayerData<'a> {
    /// With these values of P.
    pub fn with_p(self, p: &'a [f64]) -> Self {
        Self { p: Some(p), ..self }
    }
    /// With this q.
    pub fn with_q(self, q: &'a [f64]) -> Self {
        Self { q: Some(q), ..self }
    }
    /// With these values of A.
    pub fn with_a(self, a: &'a [f64]) -> Self {
        Self { a: Some(a), ..self }
    }
    /// With this b.
    ///
    /// ```
    /// use conediff::LayerData;
    /// // q and b of this item; P and A are the layer's.
    /// let data = LayerData::default().with_q(&[-1.0]).with_b(&[0.5]);
    /// assert!(data.p.is_none() && data.b == Some(&[0.5][..]));
    /// ```
    pub fn with_b(self, b: &'a [f64]) -> Self {
        Self { b: Some(b), ..self }
    }
    /// With a budget of its own.
    pub fn with_budget(self, budget: &'a Budget) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }
}

/// How a layer's forwards found their answers, since it was made.
///
/// ```
/// # use conediff::{Cone, ConeProgram, ConicLayer, ForwardSolver, LayerData, LayerSettings};
/// # let program = ConeProgram::from_csc(
/// #     (&[0, 1], &[0], &[1.0]), vec![-1.0],
/// #     (&[0, 1], &[0], &[1.0]), vec![0.25],
/// #     vec![Cone::Nonnegative(1)],
/// # )?;
/// use conediff::LayerCounts;
/// // minimize 1/2 x^2 - x subject to x <= b
/// let mut layer = ConicLayer::new(&program, LayerSettings::default().with_forward(ForwardSolver::Clarabel))?;
/// let batch = [[0.25], [f64::NAN], [2.0]];
/// let answers = layer.forward_batch(&batch.each_ref().map(|b| LayerData::default().with_b(b)));
/// assert!(answers[1].is_err());
/// let LayerCounts { forwards, cheap, failed, .. } = layer.counts();
/// assert_eq!((forwards, cheap, failed), (3, 2, 1));
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct LayerCounts {
    /// Forwards.
    pub forwards: u64,
    /// Answered from the warm start.
    pub warm: u64,
    /// Warm starts that missed the residual test.
    pub warm_missed: u64,
    /// Answered by the dense interior-point method.
    pub dense_qp: u64,
    /// Answered by Clarabel at the cheap tolerance.
    pub cheap: u64,
    /// Answered by a fresh Clarabel at full settings.
    pub full: u64,
    /// Not answered: infeasible, unbounded, wrong data, limits.
    pub failed: u64,
}

impl LayerCounts {
    fn add(&mut self, item: &Item) {
        self.forwards += 1;
        self.warm_missed += u64::from(item.missed_warm);
        *match item.path {
            Some(ForwardPath::Warm) => &mut self.warm,
            Some(ForwardPath::DenseQp) => &mut self.dense_qp,
            Some(ForwardPath::Cheap) => &mut self.cheap,
            Some(ForwardPath::Full) => &mut self.full,
            None => &mut self.failed,
        } += 1;
    }
}

/// One structure, many data.
///
/// ```
/// use conediff::{Cone, ConeProgram, ConicLayer, LayerData, LayerSettings, SolutionTangent};
/// // minimize 1/2 x^2 - x subject to x <= b, for many b
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let mut layer = ConicLayer::new(&program, LayerSettings::default())?;
/// for b in [0.25, 0.5, 2.0] {
///     let x = layer.forward(&LayerData::default().with_b(&[b]))?.x[0];
///     assert!((x - f64::min(b, 1.0)).abs() < 1e-12);
///     let mut seed = SolutionTangent::zeros(&program);
///     seed.x[0] = 1.0;
///     let gradient = layer.backward(&seed)?;
///     assert!(gradient.trusted && (gradient.value.b[0] - f64::from(b < 1.0)).abs() < 1e-12);
/// }
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Debug)]
pub struct ConicLayer {
    shared: Shared,
    workers: Vec<Worker>,
    /// At least one.
    items: Vec<Item>,
    /// How many of them the last batch had.
    batch: usize,
    counts: LayerCounts,
    pool: Option<Arc<rayon::ThreadPool>>,
}

impl ConicLayer {
    /// A layer for the program's patterns and cones; its values are those of items that do not give their own.
    ///
    /// # Errors
    /// [`Error::Setting`]; [`Error::Threads`] if the threads cannot be made; [`Error::TooLarge`] for a structure whose linear system
    /// is.
    pub fn new(program: &ConeProgram, settings: LayerSettings) -> Result<Self> {
        settings.validate()?;
        let pool = match settings.threads {
            1 => None,
            threads => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                Some(Arc::new(pool.map_err(|e| Error::Threads {
                    threads,
                    message: e.to_string(),
                })?))
            }
        };
        let threads = pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        Ok(Self {
            shared: Shared {
                program: program.clone(),
                structure: Arc::new(Structure::with_variables(program, true)?),
                for_any_values: OnceLock::new(),
                engine: OnceLock::new(),
                settings,
            },
            workers: (0..threads).map(|_| Worker::default()).collect(),
            items: vec![Item::default()],
            batch: 1,
            counts: LayerCounts::default(),
            pool,
        })
    }

    /// Its threads, if more than one.
    #[cfg(any(feature = "burn", feature = "candle"))]
    pub(crate) fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        self.pool.clone()
    }
    /// The program the layer was made for.
    pub fn program(&self) -> &ConeProgram {
        &self.shared.program
    }
    /// Its settings.
    pub fn settings(&self) -> &LayerSettings {
        &self.shared.settings
    }
    /// How its forwards found their answers.
    pub fn counts(&self) -> LayerCounts {
        self.counts
    }

    /// Where the next forwards start.
    pub fn set_warm_start(&mut self, warm_start: WarmStart) {
        self.shared.settings.warm_start = warm_start;
    }

    /// Solves for one item's data.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::NonFinite`], [`Error::NotConvex`], [`Error::Bound`] for the data; those of [`crate::solve`] and
    /// [`Derivative::new`].
    pub fn forward(&mut self, data: &LayerData<'_>) -> Result<&Solution> {
        limit::budgeted(data.budget, move || {
            let program = self
                .shared
                .program
                .with_data(data.p, data.q, data.a, data.b);
            self.forward_item(program)
        })
    }

    /// Solves a program with the layer's patterns and cones.
    ///
    /// # Errors
    /// [`Error::PatternMismatch`] for another structure; those of [`ConicLayer::forward`].
    pub fn forward_program(&mut self, program: &ConeProgram) -> Result<&Solution> {
        let program = self.shared.same_structure(program);
        self.forward_item(program)
    }

    fn forward_item(&mut self, program: Result<ConeProgram>) -> Result<&Solution> {
        let item = &mut self.items[0];
        let done = item.take(program, &self.shared, &mut self.workers[0]);
        self.counts.add(item);
        done?;
        Ok(self.derivative()?.solution())
    }

    /// The derivative at the last forward's solution, with its warnings, kinks and Jacobian.
    ///
    /// # Errors
    /// [`Error::NoForward`] before the first forward, and after one that failed.
    pub fn derivative(&self) -> Result<&Derivative> {
        self.item_derivative(0)
    }

    /// The derivative at one item of the last batch.
    ///
    /// # Errors
    /// [`Error::NoForward`] for an item that was not solved.
    pub fn item_derivative(&self, item: usize) -> Result<&Derivative> {
        let found = self.items.get(item).and_then(|i| i.derivative.as_ref());
        found.ok_or(Error::NoForward { item })
    }

    /// Hands over the derivatives of the last batch's items in order (of the last forward if there was no batch), `None` for one that was
    /// not solved. They outlive the layer's next forward, and many threads can use one. The layer has none of them left: `backward` is
    /// an error until the next forward. With [`WarmStart::Previous`] it keeps their points to start from.
    pub fn take_derivatives(&mut self) -> Vec<Option<Derivative>> {
        let keep_start = self.shared.settings.warm_start == WarmStart::Previous;
        let items = self.items.iter_mut().take(self.batch);
        items.map(|item| item.take_derivative(keep_start)).collect()
    }

    /// How the last forward of an item found its answer, `None` if it found none.
    ///
    /// ```
    /// use conediff::{
    ///     Cone, ConeProgram, ConicLayer, ForwardPath, LayerCounts, LayerData, LayerSettings, WarmStart,
    /// };
    /// // minimize 1/2 x^2 - x subject to x <= b, b moving in small steps
    /// let program = ConeProgram::from_csc(
    ///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
    ///     (&[0, 1], &[0], &[1.0]), vec![0.25],
    ///     vec![Cone::Nonnegative(1)],
    /// )?;
    /// let settings = LayerSettings::default().with_warm_start(WarmStart::Previous);
    /// let mut layer = ConicLayer::new(&program, settings)?;
    /// for b in [0.25, 0.26, 0.27] {
    ///     layer.forward(&LayerData::default().with_b(&[b]))?;
    /// }
    /// assert_eq!(layer.path(0), Some(ForwardPath::Warm));
    /// let LayerCounts { forwards, warm, failed, .. } = layer.counts();
    /// assert_eq!((forwards, warm, failed), (3, 2, 0));
    /// # Ok::<(), conediff::Error>(())
    /// ```
    pub fn path(&self, item: usize) -> Option<ForwardPath> {
        self.items.get(item)?.path
    }

    /// Bytes one item holds: factorization (but for that of LU), solution and memory for its derivatives. Its own values of P and A, where
    /// they move, come on top.
    pub fn item_bytes(&self, item: usize) -> usize {
        let of = |i: &Item| {
            let work = i.work.as_ref().map_or(0, |w| w.bytes());
            i.derivative.as_ref().map_or(0, Derivative::bytes) + work
        };
        self.items.get(item).map_or(0, of)
    }

    /// Gradient of <cotangent, (x, z, s)> in the data at the last forward's solution.
    ///
    /// # Errors
    /// [`Error::NoForward`]; those of [`Derivative::vjp`].
    pub fn backward(&mut self, cotangent: &SolutionCotangent) -> Result<Checked<DataCotangent>> {
        self.items[0].backward(0, cotangent)
    }

    /// [`ConicLayer::backward`] into the caller's memory, only the parts wanted. Nothing is allocated once `out` has its lengths.
    /// Whether it is trusted: [`Derivative::is_trusted`] of [`ConicLayer::derivative`].
    ///
    /// # Errors
    /// Those of [`ConicLayer::backward`].
    pub fn backward_into(
        &mut self,
        cotangent: &SolutionCotangent,
        wanted: Wanted,
        out: &mut DataCotangent,
    ) -> Result<Evidence> {
        let (derivative, work) = self.items[0].ready(0)?;
        derivative.vjp_into(cotangent, wanted, out, work)
    }

    /// Directional derivative of the last forward's solution along a data tangent.
    ///
    /// # Errors
    /// [`Error::NoForward`]; those of [`Derivative::jvp`].
    pub fn jvp(&mut self, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        self.items[0].jvp(0, tangent)
    }

    /// [`ConicLayer::jvp`] into the caller's memory, without allocation once `out` has its lengths.
    ///
    /// # Errors
    /// Those of [`ConicLayer::jvp`].
    pub fn jvp_into(
        &mut self,
        tangent: &DataTangent,
        out: &mut SolutionTangent,
    ) -> Result<Evidence> {
        let (derivative, work) = self.items[0].ready(0)?;
        derivative.jvp_into(tangent, out, work)
    }

    /// Solves for a batch of data, in order; an item that fails leaves the others alone.
    pub fn forward_batch(&mut self, data: &[LayerData<'_>]) -> Vec<Result<Solution>> {
        self.forward_all(
            data,
            |d| d.budget,
            |shared, d| shared.program.with_data(d.p, d.q, d.a, d.b),
        )
    }

    /// [`ConicLayer::forward_batch`] for programs with the layer's patterns and cones.
    pub fn forward_programs(&mut self, programs: &[ConeProgram]) -> Vec<Result<Solution>> {
        self.forward_all(programs, |_| None, Shared::same_structure)
    }

    /// `budget` is an item's own; `program` makes an input a program, on the thread that solves it.
    fn forward_all<T: Sync>(
        &mut self,
        inputs: &[T],
        budget: impl Fn(&T) -> Option<&Budget> + Sync,
        program: impl Fn(&Shared, &T) -> Result<ConeProgram> + Sync,
    ) -> Vec<Result<Solution>> {
        let count = inputs.len();
        self.items.resize_with(count.max(1), Item::default);
        self.batch = count;
        let forward = |worker: &mut Worker, item: &mut Item, input: &T| {
            limit::budgeted(budget(input), || {
                let program = limit::check("an item").and_then(|()| program(&self.shared, input));
                item.take(program, &self.shared, worker)
            })?;
            let found = item.derivative.as_ref().map(|d| d.solution().clone());
            found.ok_or(Error::NoForward { item: 0 })
        };
        let mut jobs = self.items.iter_mut().zip(inputs);
        let mut results: Vec<Option<Result<Solution>>> = (0..count).map(|_| None).collect();
        // The first item settles what is timed once, before the others run side by side.
        let mut slots = results.iter_mut();
        if self.shared.engine.get().is_none()
            && let (Some((item, input)), Some(slot)) = (jobs.next(), slots.next())
        {
            *slot = Some(forward(&mut self.workers[0], item, input));
        }
        let jobs = Mutex::new(jobs.zip(slots));
        share(
            self.pool.as_deref(),
            &mut self.workers,
            &jobs,
            |worker, ((item, input), slot)| {
                *slot = Some(forward(worker, item, input));
            },
        );
        for item in self.items.iter().take(count) {
            self.counts.add(item);
        }
        results.into_iter().flatten().collect()
    }

    /// Gradients for the items of the last batch, one cotangent each.
    ///
    /// # Errors
    /// [`Error::Dimension`] if there are not as many cotangents as items; each item has its own errors inside.
    pub fn backward_batch(
        &mut self,
        cotangents: &[SolutionCotangent],
    ) -> Result<Vec<Result<Checked<DataCotangent>>>> {
        self.each("cotangents", cotangents, Item::backward)
    }

    /// Directional derivatives of the items of the last batch, one tangent each.
    ///
    /// # Errors
    /// [`Error::Dimension`] if there are not as many tangents as items; each item has its own errors inside.
    pub fn jvp_batch(
        &mut self,
        tangents: &[DataTangent],
    ) -> Result<Vec<Result<Checked<SolutionTangent>>>> {
        self.each("tangents", tangents, Item::jvp)
    }

    fn each<T: Sync, R: Send>(
        &mut self,
        what: &'static str,
        inputs: &[T],
        act: impl Fn(&mut Item, usize, &T) -> Result<R> + Sync,
    ) -> Result<Vec<Result<R>>> {
        crate::program::check_length(what, self.batch, inputs.len())?;
        let mut results: Vec<Option<Result<R>>> = inputs.iter().map(|_| None).collect();
        let jobs = self
            .items
            .iter_mut()
            .enumerate()
            .zip(inputs)
            .zip(&mut results);
        let jobs = Mutex::new(jobs);
        share(
            self.pool.as_deref(),
            &mut self.workers,
            &jobs,
            |_, (((k, item), input), slot)| {
                *slot = Some(act(item, k, input));
            },
        );
        Ok(results.into_iter().flatten().collect())
    }
}

/// Hands out the jobs one by one to the workers, each on its thread.
fn share<J: Send>(
    pool: Option<&rayon::ThreadPool>,
    workers: &mut [Worker],
    jobs: &Mutex<impl Iterator<Item = J> + Send>,
    act: impl Fn(&mut Worker, J) + Sync,
) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = |worker: &mut Worker| {
        while let Some(job) = next() {
            act(worker, job);
        }
    };
    match pool {
        None => workers.iter_mut().take(1).for_each(run),
        Some(pool) => limit::share(pool, workers, run),
    }
}

impl Item {
    /// The forward of a program, or of data that are none.
    fn take(
        &mut self,
        program: Result<ConeProgram>,
        shared: &Shared,
        worker: &mut Worker,
    ) -> Result<()> {
        match program {
            Ok(program) => self.forward(shared, worker, &program),
            Err(error) => {
                *self = Item::default();
                Err(error)
            }
        }
    }

    fn ready(
        &mut self,
        item: usize,
    ) -> Result<(&Derivative, &mut crate::derivative::DerivativeWorkspace)> {
        match (&self.derivative, &mut self.work) {
            (Some(derivative), Some(work)) => Ok((derivative, work)),
            _ => Err(Error::NoForward { item }),
        }
    }

    fn backward(
        &mut self,
        item: usize,
        cotangent: &SolutionCotangent,
    ) -> Result<Checked<DataCotangent>> {
        let (derivative, work) = self.ready(item)?;
        let mut value = DataTangent::default();
        let evidence = derivative.vjp_into(cotangent, Wanted::default(), &mut value, work)?;
        Ok(derivative.checked(value, evidence))
    }

    fn jvp(&mut self, item: usize, tangent: &DataTangent) -> Result<Checked<SolutionTangent>> {
        let (derivative, work) = self.ready(item)?;
        let mut value = SolutionTangent::default();
        let evidence = derivative.jvp_into(tangent, &mut value, work)?;
        Ok(derivative.checked(value, evidence))
    }
}
