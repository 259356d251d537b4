//! Compiles the kernels for the CPU, if tests want them.

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    #[cfg(feature = "emulate")]
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // The tests of the kernels would take minutes without.
        .opt_level(2)
        .warnings(false)
        .file("kernels/emulated.cpp")
        .compile("secateur_gpu_emulated");
}
