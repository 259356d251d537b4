use secateur_encoders::{Encoder, LoadOptions, TextKind};
use secateur_testkit::{minilm, workspace_root};

const DIM: usize = 384;

fn texts() -> Vec<String> {
    let path = workspace_root().join("tests/fixtures/minilm/texts.jsonl");
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// The rows of the fixture's .npy: f32, C order, after a header whose length stands at byte 8.
fn reference() -> Vec<f32> {
    let bytes = std::fs::read(workspace_root().join("tests/fixtures/minilm/vectors.npy")).unwrap();
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[data..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn vectors_are_those_of_transformers_whatever_the_batch() {
    let Some(model) = minilm("vectors_are_those_of_transformers_whatever_the_batch") else { return };
    let encoder = Encoder::load(&model, &LoadOptions::default()).unwrap();
    assert_eq!((encoder.dim(), encoder.max_length()), (DIM, 256));
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reference = reference();
    assert_eq!(reference.len(), texts.len() * DIM);

    let together = encoder.encode(&texts, TextKind::Passage).unwrap();
    for (i, (got, want)) in together.chunks_exact(DIM).zip(reference.chunks_exact(DIM)).enumerate() {
        let cosine = cosine(got, want);
        assert!(cosine >= 0.99999, "text {i}: cosine {cosine}: {:?}", texts[i]);
    }
    // The same bits alone, in pairs and on another number of threads.
    for size in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(size).build().unwrap();
        for (chunk, want) in texts.chunks(size).zip(together.chunks(size * DIM)) {
            let got = pool.install(|| encoder.encode(chunk, TextKind::Passage)).unwrap();
            assert!(got == want, "a vector depends on its batch mates or on the number of threads");
        }
    }
}
