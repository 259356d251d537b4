use std::sync::OnceLock;

use secateur_gpu::Gpu;

/// Has the number of the GPU that the kernels are tested on; the emulator stands in where it is not set.
const VARIABLE: &str = "SECATEUR_GPU_TESTS";

/// The GPU, opened once: loading the kernels takes longer than most tests.
fn card() -> Option<&'static Gpu> {
    static CARD: OnceLock<Option<Gpu>> = OnceLock::new();
    let open = || {
        let number = std::env::var(VARIABLE).ok()?;
        let number = number.parse::<usize>();
        let number = number.unwrap_or_else(|error| panic!("{VARIABLE} is no number of a GPU: {error}"));
        Some(Gpu::open(number).unwrap_or_else(|error| panic!("{error}")))
    };
    CARD.get_or_init(open).as_ref()
}

/// What the kernels are tested on.
pub fn gpu() -> Gpu {
    card().cloned().unwrap_or_else(Gpu::emulated)
}

/// How far from its twin a kernel may be that is within `limit` of it on the emulator. A GPU adds in another order and
/// fuses multiplications with additions. Its exp and tanh are some units of the last place off.
pub fn allowed(limit: f64) -> f64 {
    if card().is_some() { (10.0 * limit).min(OF_CARDS).max(limit) } else { limit }
}

/// Two to three roundings to bf16: a kernel that does anything else than its twin is off by far more.
const OF_CARDS: f64 = 1e-2;

/// Whether equal steps in different kernels give equal numbers: on the emulator, whose compiler fuses nothing.
pub fn is_emulated() -> bool {
    card().is_none()
}
