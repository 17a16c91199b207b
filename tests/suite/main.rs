#[cfg(feature = "cli")]
mod cli;
mod hostile;
mod lapack;
