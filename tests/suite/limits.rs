//! Budgets hold for everything that runs inside them, and change nothing else; sizes are refused before memory is taken.

mod budget;
mod sizes;
