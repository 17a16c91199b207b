//! What a gradient means: certificates, selections, one-sided derivatives.

mod certificate;
mod oracle;
