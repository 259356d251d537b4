use proptest::prelude::*;
use secateur_gpu::{Error, Gpu};

/// Memory that is given back is used again, and nothing is lost.
#[test]
fn gpu_buffers_come_from_the_pool_and_go_back() {
    let gpu = Gpu::emulated();
    let free = gpu.memory().unwrap().free;
    let first = gpu.buffer::<f32>(1000).unwrap();
    let used = free - gpu.memory().unwrap().free;
    assert_eq!(used, 4096);
    drop(first);
    let again = gpu.upload(&[1.5f32; 999]).unwrap();
    assert_eq!(free - gpu.memory().unwrap().free, used, "the same piece does");
    assert_eq!(again.to_vec().unwrap(), [1.5; 999]);
    drop(again);
    gpu.release().unwrap();
    assert_eq!(gpu.memory().unwrap().free, free);
}

#[test]
fn gpu_memory_that_is_kept_is_given_back_before_memory_is_full() {
    let gpu = Gpu::emulated_with(1 << 20);
    drop(gpu.buffer::<u8>(600 << 10).unwrap());
    let other = gpu.buffer::<u8>(700 << 10).unwrap();
    let error = gpu.buffer::<u8>(500 << 10).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }) && error.is_out_of_memory(), "{error}");
    let message = error.to_string();
    assert!(message.contains("524288 bytes") && message.contains("--batch-tokens"), "{message}");
    drop(other);
    gpu.buffer::<u8>(500 << 10).unwrap();
}

#[test]
fn gpu_that_is_not_there_is_refused_with_a_reason() {
    let error = Gpu::open(99).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("no NVIDIA driver was found") || message.contains("GPU"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However buffers are taken and dropped, each keeps what was written to it, and all memory comes back.
    #[test]
    fn gpu_buffers_do_not_overlap(sizes in prop::collection::vec((1..5000usize, any::<bool>()), 1..40)) {
        let gpu = Gpu::emulated();
        let free = gpu.memory().unwrap().free;
        let mut alive = Vec::new();
        for (number, (size, drop_one)) in sizes.into_iter().enumerate() {
            let value = number as u32;
            alive.push((value, gpu.upload(&vec![value; size]).unwrap()));
            if drop_one {
                alive.remove(number % alive.len());
            }
        }
        for (value, buffer) in &alive {
            prop_assert!(buffer.to_vec().unwrap().iter().all(|x| x == value));
        }
        drop(alive);
        gpu.release().unwrap();
        prop_assert_eq!(gpu.memory().unwrap().free, free);
    }
}
