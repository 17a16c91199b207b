//! The threads of a batch.

use conediff::{Error, Result};
use rayon::prelude::*;
use std::sync::Arc;

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
                pool.install(|| {
                    let all = (0..count).into_par_iter();
                    all.map_init(memory, act).collect()
                })
            }
            _ => {
                let mut memory = memory();
                (0..count).map(|k| act(&mut memory, k)).collect()
            }
        }
    }
}
