//! What a gradient means: certificates, selections, one-sided derivatives, policies.

mod certificate;
mod directional;
mod extremes;
mod hostile;
mod oracle;
mod policy;
mod report;
mod selection;
mod support;
