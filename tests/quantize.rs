//! `--quantize nf4`, `--precision int8` and `secateur model quantize`.

use std::path::Path;

use crate::support::Sandbox;
use crate::support::dataset::small;
use crate::support::model::tiny;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The file of vectors that an encoder, given by these arguments, makes of a data set.
fn vectors(sandbox: &Sandbox, data: &Path, name: &str, arguments: &[&str]) -> Vec<u8> {
    let out = sandbox.path(name);
    let encode = ["encode", text(data), "--out", text(&out), "--encoder"];
    let outcome = sandbox.run([&encode, arguments].concat());
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    std::fs::read(out).unwrap()
}

#[test]
fn quantized_at_load_and_on_disk_are_one_encoder() {
    let sandbox = Sandbox::new();
    let (model, data) = (tiny(&sandbox.path("model")), small(&sandbox.path("data")));
    let written = sandbox.path("written");
    let quantize = ["model", "quantize", text(&model), "--out", text(&written)];
    let output = sandbox.run(quantize).ok();
    assert!(output.ends_with(" in nf4\n"), "{output}");
    sandbox.run(quantize).fails(2, ["exists: choose another output, or remove it"]);

    let vectors = |name: &str, arguments: &[&str]| vectors(&sandbox, &data, name, arguments);
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

#[test]
fn a_model_in_8_bits_gives_the_vectors_of_the_precision() {
    let sandbox = Sandbox::new();
    let (model, data) = (tiny(&sandbox.path("model")), small(&sandbox.path("data")));
    let written = sandbox.path("written");
    let quantize = ["model", "quantize", text(&model), "--format", "int8", "--out", text(&written)];
    let output = sandbox.run(quantize).ok();
    assert!(output.ends_with(" in int8\n"), "{output}");
    let vectors = |name: &str, arguments: &[&str]| vectors(&sandbox, &data, name, arguments);
    let at_load = vectors("load.npy", &[text(&model), "--precision", "int8"]);
    assert!(at_load == vectors("written.npy", &[text(&written)]));
    assert!(at_load != vectors("f32.npy", &[text(&written), "--precision", "f32"]));

    // A database remembers it: queries are computed as its documents were.
    let database = sandbox.path("database");
    let index = ["index", text(&data), "--out", text(&database), "--encoder", text(&written)];
    let outcome = sandbox.run(index);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let search = ["search", text(&database), "bees dance", "--mode", "dense"];
    let output = sandbox.run(search).ok();
    assert!(output.contains("d3"), "{output}");
    let moved = sandbox.path("moved");
    std::fs::rename(&written, &moved).unwrap();
    sandbox.run(["generation", "relocate", text(&database), "--encoder", text(&moved)]).ok();
    assert_eq!(sandbox.run(search).ok(), output);
    std::fs::rename(&moved, &written).unwrap();

    let again = ["model", "quantize", text(&written), "--format", "int8", "--out", "again"];
    sandbox
        .run(again)
        .fails(3, ["config.json", "quantization_config", "give the model that it was made from"]);
    sandbox
        .run(["model", "quantize", text(&model), "--format", "int3", "--out", "again"])
        .fails(2, ["int3", "nf4, int8"]);
    let output = sandbox.run(["model", "inspect", "mistral-7b", "--quantize", "int8"]).ok();
    assert!(output.contains("size with linear layers in 8 bits, all else in f32"), "{output}");
}
