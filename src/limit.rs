//! Budgets: how long work may take, and a handle that stops it.
//!
//! A budget holds for whatever runs inside [`Budget::run`]: it is kept for the thread, so that no signature has to carry it, and the
//! threads of a batch take it over. Each step of each method asks [`check`]; without a budget that is one look at a thread's own
//! variable, and no clock is read.

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How often a handle's own function is asked. An eye does not see the delay, and a step of a small program takes a thousandth of it.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Stops work from another thread: a clone of it is given to the work's [`Budget`]. Once cancelled it stays so.
///
/// ```
/// use conediff::{Budget, Cancel, Error, least_norm_in_hull};
/// let stop = Cancel::new();
/// let button = stop.clone();
/// std::thread::scope(|scope| {
///     scope.spawn(move || button.cancel());
/// });
/// assert!(stop.is_cancelled());
/// let work = || least_norm_in_hull(&[vec![1.0], vec![-1.0]]);
/// let result = Budget::default().with_cancel(&stop).run(work);
/// assert!(matches!(result, Err(Error::Cancelled { .. })));
/// // Without the handle it runs as ever.
/// assert!(work()?.norm < 1e-12);
/// # Ok::<(), conediff::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_cancelled: AtomicBool,
    source: Option<Source>,
}

/// A function that knows whether to go on.
struct Source {
    ask: Box<dyn Fn() -> bool + Send + Sync>,
    made: Instant,
    /// When it is due, in nanoseconds after `made`.
    due: AtomicU64,
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_cancelled = self.shared.is_cancelled.load(Ordering::Relaxed);
        f.debug_tuple("Cancel").field(&is_cancelled).finish()
    }
}

impl Cancel {
    /// A handle that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that cancels itself once `is_over` returns true: for signals and other flags that have to be fetched. It is asked
    /// between steps, every 20 milliseconds at most, and only on the thread that called [`Budget::run`], also while that waits for
    /// the threads of a batch.
    pub fn when(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                is_cancelled: AtomicBool::new(false),
                source: Some(Source {
                    ask: Box::new(is_over),
                    made: Instant::now(),
                    due: AtomicU64::new(ASKED_EVERY.as_nanos() as u64),
                }),
            }),
        }
    }

    /// Stops the work at its next step.
    pub fn cancel(&self) {
        self.shared.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// True once it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled.load(Ordering::Relaxed)
    }

    /// Asks its function, if it has one and that is due.
    fn ask(&self) {
        if self.shared.source.as_ref().is_some_and(Source::is_over) {
            self.cancel();
        }
    }
}

impl Source {
    fn is_over(&self) -> bool {
        let now = u64::try_from(self.made.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(ASKED_EVERY.as_nanos() as u64);
        // One thread asks; the others go on.
        let is_mine = now >= due
            && self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_mine && (self.ask)()
    }
}

/// What work may take: time, and a handle to stop it. The default is without limits.
///
/// Everything of this crate that runs inside [`Budget::run`] obeys it: solving and refining, derivatives, Jacobians, reports, checks,
/// batches, iterations. It looks between steps (an iteration of a solver, a Newton step, a step of a refinement, a column of a
/// Jacobian, an item); one factorization is one step and is not interrupted. What is stopped is [`Error::TimeLimit`] or
/// [`Error::Cancelled`], and every result that comes back is the same to the last bit as without a budget.
///
/// Budgets nest: the inner one's work stops at the first limit of both. Threads that the caller starts inside know nothing of it until
/// they are handed [`Budget::running`].
///
/// ```
/// use conediff::{Budget, Cancel, Cone, ConeProgram, Derivative, Error, Settings, solve};
/// use std::time::Duration;
/// let program = ConeProgram::from_csc(
///     (&[0, 1], &[0], &[1.0]), vec![-1.0],
///     (&[0, 1], &[0], &[1.0]), vec![0.25],
///     vec![Cone::Nonnegative(1)],
/// )?;
/// let settings = Settings::default();
/// let stop = Cancel::new();
/// let budget = Budget::default().with_time_limit(Duration::from_secs(60)).with_cancel(&stop);
/// // One budget for the solve and the derivative.
/// let work = || Derivative::new(&program, &solve(&program, &settings)?, &settings);
/// assert!(budget.run(work)?.is_trusted_point());
/// stop.cancel();
/// assert!(matches!(budget.run(work), Err(Error::Cancelled { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Budget {
    time_limit: Option<Duration>,
    cancel: Option<Cancel>,
}

impl Budget {
    /// The same budget with a time limit, counted from each call of [`Budget::run`].
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self {
            time_limit: Some(time_limit),
            ..self
        }
    }

    /// The same budget with a handle that stops its work.
    pub fn with_cancel(self, cancel: &Cancel) -> Self {
        Self {
            cancel: Some(cancel.clone()),
            ..self
        }
    }

    /// Does the work within the budget, on this thread.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.time_limit.is_none() && self.cancel.is_none() {
            return work();
        }
        let limits = Limits {
            start: Instant::now(),
            budget: self.clone(),
            outer: current(),
            thread: std::thread::current().id(),
        };
        within(Some(Arc::new(limits)), work)
    }

    /// The budgets at work on this thread, to be handed to others.
    pub fn running() -> Running {
        Running(current())
    }
}

/// The budgets at work on a thread, with the time they have left: what other threads of the same work run under.
///
/// ```
/// use conediff::{Budget, Error};
/// use std::time::Duration;
/// let budget = Budget::default().with_time_limit(Duration::ZERO);
/// budget.run(|| {
///     let running = Budget::running();
///     std::thread::scope(|scope| {
///         let other = scope.spawn(|| running.run(|| conediff::least_norm_in_hull(&[vec![1.0]])));
///         assert!(matches!(other.join().unwrap(), Err(Error::TimeLimit { .. })));
///     });
/// });
/// ```
#[derive(Clone)]
pub struct Running(Option<Arc<Limits>>);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&self.0.is_some()).finish()
    }
}

impl Running {
    /// Does the work under these budgets instead of this thread's own.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        within(self.0.clone(), work)
    }

    /// For steps of the caller's own, whose name is `step`.
    ///
    /// # Errors
    /// [`Error::TimeLimit`], [`Error::Cancelled`].
    pub fn check(&self, step: &'static str) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |limits| limits.check(step))
    }
}

/// Does the work within a budget, if there is one.
pub(crate) fn budgeted<R>(budget: Option<&Budget>, work: impl FnOnce() -> R) -> R {
    match budget {
        Some(budget) => budget.run(work),
        None => work(),
    }
}

/// A budget at work, inside others.
pub(crate) struct Limits {
    start: Instant,
    budget: Budget,
    outer: Option<Arc<Limits>>,
    /// The one that asks the handle's function.
    thread: ThreadId,
}

impl Limits {
    fn check(&self, step: &'static str) -> Result<()> {
        let elapsed = || self.start.elapsed().as_secs_f64();
        let budget = &self.budget;
        if let Some(cancel) = &budget.cancel {
            if self.asks_here() {
                cancel.ask();
            }
            if cancel.is_cancelled() {
                return Err(Error::Cancelled {
                    elapsed: elapsed(),
                    step,
                });
            }
        }
        if let Some(limit) = budget.time_limit.filter(|l| self.start.elapsed() >= *l) {
            return Err(Error::TimeLimit {
                elapsed: elapsed(),
                limit: limit.as_secs_f64(),
                step,
                last: None,
            });
        }
        self.outer.as_ref().map_or(Ok(()), |o| o.check(step))
    }

    /// True if its handle has a function for this thread to ask.
    fn asks_here(&self) -> bool {
        let has_source = |c: &Cancel| c.shared.source.is_some();
        self.budget.cancel.as_ref().is_some_and(has_source)
            && self.thread == std::thread::current().id()
    }

    /// The same for it or one around it.
    fn any_asks_here(&self) -> bool {
        self.asks_here() || self.outer.as_ref().is_some_and(|o| o.any_asks_here())
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Limits>>> = const { RefCell::new(None) };
}

/// The limits of this thread, for another one to take over.
pub(crate) fn current() -> Option<Arc<Limits>> {
    CURRENT.with(|c| c.borrow().clone())
}

/// Does the work under these limits instead of the thread's own.
pub(crate) fn within<R>(limits: Option<Arc<Limits>>, work: impl FnOnce() -> R) -> R {
    /// Gives the thread its own limits back, after a panic too.
    struct Restore(Option<Arc<Limits>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|c| c.replace(self.0.take()));
        }
    }
    let _restore = Restore(CURRENT.with(|c| c.replace(limits)));
    work()
}

/// [`Error::TimeLimit`] or [`Error::Cancelled`] if the budget is spent before this step.
pub(crate) fn check(step: &'static str) -> Result<()> {
    // A handle's function may come back here: nothing stays borrowed.
    current().map_or(Ok(()), |limits| limits.check(step))
}

/// True if there is something to check.
pub(crate) fn is_set() -> bool {
    CURRENT.with(|c| c.borrow().is_some())
}

/// True if the budget is spent.
pub(crate) fn is_over() -> bool {
    check("").is_err()
}

/// Does `work` on the threads of a pool, `count` times, under this thread's limits.
///
/// This thread waits, and asks meanwhile: a signal's handler, for one, runs on no other. It has no limits of its own then, since a
/// waiting thread of another pool can be given jobs that are not of this work.
pub(crate) fn share<W: Send>(
    pool: &rayon::ThreadPool,
    workers: &mut [W],
    work: impl Fn(&mut W) + Sync,
) {
    let limits = current();
    let count = workers.len();
    let done = (Mutex::new(0), Condvar::new());
    let asks = limits.as_ref().filter(|l| l.any_asks_here());
    within(None, || {
        pool.in_place_scope(|scope| {
            for worker in workers {
                scope.spawn(|_| {
                    /// Counts at the end, after a panic too.
                    struct Count<'a>(&'a (Mutex<usize>, Condvar));
                    impl Drop for Count<'_> {
                        fn drop(&mut self) {
                            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                            self.0.1.notify_one();
                        }
                    }
                    let _count = Count(&done);
                    within(limits.clone(), || work(worker));
                });
            }
            let Some(limits) = asks else { return };
            let mut finished = done.0.lock().unwrap_or_else(PoisonError::into_inner);
            while *finished < count {
                let waited = done.1.wait_timeout(finished, ASKED_EVERY);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                // What is over is seen by the workers.
                let _ = limits.check("");
                finished = done.0.lock().unwrap_or_else(PoisonError::into_inner);
            }
        });
    });
}
