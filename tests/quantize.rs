//! `--quantize nf4` and `secateur model quantize`.

use std::path::Path;

use crate::support::Sandbox;
use crate::support::dataset::small;
use crate::support::model::tiny;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn quantized_at_load_and_on_disk_are_one_encoder() {
    let sandbox = Sandbox::new();
    let (model, data) = (tiny(&sandbox.path("model")), small(&sandbox.path("data")));
    let written = sandbox.path("written");
    let quantize = ["model", "quantize", text(&model), "--out", text(&written)];
    let output = sandbox.run(quantize).ok();
    assert!(output.ends_with(" in nf4\n"), "{output}");
    sandbox.run(quantize).fails(1, ["cannot create", "exists"]);

    let vectors = |name: &str, arguments: &[&str]| {
        let out = sandbox.path(name);
        let encode = ["encode", text(&data), "--out", text(&out), "--encoder"];
        let outcome = sandbox.run([&encode, arguments].concat());
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
        std::fs::read(out).unwrap()
    };
    let at_load = vectors("load.npy", &[text(&model), "--quantize", "nf4"]);
    assert!(at_load == vectors("written.npy", &[text(&written)]));
    assert!(at_load != vectors("whole.npy", &[text(&model)]));
    sandbox
        .run(["encode", text(&data), "--out", "x.npy", "--encoder", text(&model), "--quantize", "int3"])
        .fails(2, ["int3", "nf4"]);
}

#[test]
fn a_database_remembers_that_its_encoder_is_quantized() {
    let sandbox = Sandbox::new();
    let (model, data) = (tiny(&sandbox.path("model")), small(&sandbox.path("data")));
    let database = sandbox.path("database");
    let index =
        ["index", text(&data), "--out", text(&database), "--encoder", text(&model), "--quantize", "nf4"];
    let outcome = sandbox.run(index);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let output = sandbox.run(["search", text(&database), "bees dance", "--mode", "dense"]).ok();
    assert!(output.contains("d3"), "{output}");
}
