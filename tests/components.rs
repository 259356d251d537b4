//! Databases of 16-bit vectors.

use crate::support::{Sandbox, dataset, model};

/// Half the file size, and scores within the rounding error. Every generation keeps its own type, and commands show
/// it.
#[test]
fn vectors_of_16_bits_are_searched() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    dataset::generated(&sandbox.path("data"), 300);
    let index = ["index", "data", "--encoder", "tiny", "--vectors"];
    for vectors in ["f32", "f16", "bf16"] {
        sandbox.run(index.into_iter().chain([vectors, "--out", vectors])).ok();
    }
    let size = |database: &str| {
        let file = crate::support::segment::read(&sandbox.path(database), "0000000001", "vectors");
        file.unwrap().len() - 64
    };
    let scores = |database: &str, more: &[&str]| -> Vec<f64> {
        let arguments = ["search", database, "honey bread oven", "--mode", "dense", "--json"];
        let answer = sandbox.run(arguments.iter().chain(more)).json();
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect()
    };
    let exact = scores("f32", &[]);
    // A component of a vector is off by half of its last place, so a cosine by as much of itself at most.
    for (vectors, error) in [("f16", 2f64.powi(-11)), ("bf16", 2f64.powi(-8))] {
        assert_eq!(2 * size(vectors), size("f32"));
        let found = scores(vectors, &[]);
        assert!(
            found.len() == 10 && found.iter().zip(&exact).all(|(a, b)| (a - b).abs() <= 2.0 * error),
            "{found:?}"
        );
        assert_ne!(found, exact);
        sandbox.run(["verify", vectors]).ok();
    }
    let generation = ["generation", "add", "f32", "half", "--encoder", "tiny", "--vectors", "f16"];
    sandbox.run(generation).ok();
    assert_eq!(scores("f32", &["--generation", "half"]), scores("f16", &[]));
    let list = sandbox.run(["generation", "list", "f32", "--json"]).json();
    assert_eq!((&list[0]["vectors"], &list[1]["vectors"]), (&"f32".into(), &"f16".into()));
    sandbox.run(["verify", "f32"]).ok();
    sandbox.run(index.into_iter().chain(["f8", "--out", "x"])).fails(2, ["--vectors"]);
}
