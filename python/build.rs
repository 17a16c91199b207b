//! Binds the BLAS and LAPACK names that Clarabel calls, and conediff brings, inside the module: routines of the same name that another
//! library made global must not take their place.

fn main() {
    let os = std::env::var("CARGO_CFG_TARGET_OS");
    if os.as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
