//! Sparse regressions: the solution by two routes, its derivatives against differences, and the tuning of penalties.

mod criteria;
mod derivatives;
mod golden;
mod input;
mod knots;
mod logistic;
mod make_regression;
mod solutions;
mod support;
mod tuning;
