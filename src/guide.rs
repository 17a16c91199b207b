//! The guides of `docs/` that need no pictures, their code run as tests.
//!
//! | guide | answers |
//! |---|---|
//! | [`mathematics`] | what is computed, under which hypotheses; equations and references |
//! | [`choosing`] | which interface, method, tolerance, selection, policy, start, threads |
//! | [`untrusted`] | what each warning means, and what to do about it |
//! | [`verifying`] | how to check a derivative, by difference and without |
//! | [`limitations`] | what is not supported, and what to do instead |
//!
//! Those with pictures are files: `docs/nonsmooth.md`, `docs/iterations.md`, `docs/lasso.md`.

/// A guide. The first definition of a link wins: those of the file lead to files, these to what the crate has on the subject.
macro_rules! guide {
    ($name:ident, $file:literal) => {
        #[doc = "[layer]: crate::ConicLayer"]
        #[doc = "[limits]: crate::Budget"]
        #[doc = "[iterations]: crate::piggyback"]
        #[doc = "[lasso]: crate::systems::lasso"]
        #[doc = "[nonsmooth]: crate::Regularity"]
        #[doc = "[choosing]: crate::guide::choosing"]
        #[doc = "[untrusted]: crate::guide::untrusted"]
        #[doc = "[verifying]: crate::guide::verifying"]
        #[doc = "[limitations]: crate::guide::limitations"]
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

guide!(mathematics, "../docs/mathematics.md");
guide!(choosing, "../docs/choosing.md");
guide!(untrusted, "../docs/untrusted.md");
guide!(verifying, "../docs/verifying.md");
guide!(limitations, "../docs/limitations.md");
