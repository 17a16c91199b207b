//! The threads of a batch.

use conediff::{Budget, Error, Result, Running};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The threads of a layer and of its answers, and the process they live in; none for one thread.
#[derive(Clone)]
pub struct Pool(Option<(Arc<rayon::ThreadPool>, u32)>);

impl Pool {
    /// As many threads, 0 for one for each processor.
    pub fn new(threads: usize) -> Result<Self> {
        if threads == 1 {
            return Ok(Self(None));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Error::Threads {
            threads,
            message: e.to_string(),
        })?;
        Ok(Self(Some((Arc::new(pool), std::process::id()))))
    }

    /// A value for each of the first `count` numbers, in order. Each thread makes its own memory. After a fork, which threads do not
    /// survive, one by one.
    pub fn map<W, T: Send>(
        &self,
        count: usize,
        memory: impl Fn() -> W + Sync + Send,
        act: impl Fn(&mut W, usize) -> T + Sync + Send,
    ) -> Vec<T> {
        match &self.0 {
            Some((pool, process)) if count > 1 && *process == std::process::id() => {
                let budget = Budget::running();
                let work = || {
                    let all = (0..count).into_par_iter();
                    let act = |memory: &mut W, k| budget.run(|| act(memory, k));
                    all.map_init(&memory, act).collect()
                };
                waiting(pool, &budget, work)
            }
            _ => {
                let mut memory = memory();
                (0..count).map(|k| act(&mut memory, k)).collect()
            }
        }
    }
}

/// Does the work on the pool. This thread waits, and looks for signals: their handlers run on no other.
fn waiting<T: Send>(
    pool: &rayon::ThreadPool,
    budget: &Running,
    work: impl FnOnce() -> T + Send,
) -> T {
    let (mut result, (done, wait)) = (None, channel::<()>());
    pool.in_place_scope(|scope| {
        scope.spawn(|_| {
            // Dropped at the end, after a panic too.
            let _done = done;
            result = Some(work());
        });
        while wait.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            // What is over is seen by the work.
            let _ = budget.check("");
        }
    });
    // The scope has passed on a panic of the work.
    result.unwrap_or_else(|| unreachable!("the scope waits for the work"))
}
