use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use secateur_encoders::architecture::{Architecture, LinearInput};
use secateur_encoders::compute::Spans;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::model::{Stage, Transformer};
use secateur_encoders::prune::{Calibration, CalibrationFormat, ModelDirectory, SparseMethod};
use secateur_encoders::{Checkpoint, Encoder, Error, LoadOptions, TextKind};
use tempfile::TempDir;

use crate::support::{MODELS, Tensor, deviation, id_texts, sequences, tiny, write_tensors};

const TEXTS: Calibration =
    Calibration { format: CalibrationFormat::Texts, max_sequences: 100, block_length: None };

fn load(directory: &Path) -> Encoder {
    Encoder::load(directory, &LoadOptions::default()).unwrap()
}

fn sparsify(directory: &Path, method: SparseMethod, out: &Path) {
    let texts = id_texts(&sequences()).into_iter().map(Ok::<_, Error>);
    let model = ModelDirectory::open(directory).unwrap();
    model.write_sparse(&load(directory), texts, &TEXTS, method, out, |_| ()).unwrap();
}

/// Tensors of the transformer by their names in the file: shape, values, whether it is a linear layer's matrix.
fn tensors(directory: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>, bool)> {
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(directory).unwrap();
    let listed: BTreeMap<String, bool> =
        architecture.tensors().into_iter().map(|tensor| (tensor.name.clone(), tensor.is_linear())).collect();
    checkpoint
        .iter()
        .filter_map(|stored| {
            let linear = *listed.get(architecture.bare_name(stored.name))?;
            let values = stored.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Some((stored.name.to_owned(), (stored.shape.to_vec(), values, linear)))
        })
        .collect()
}

#[test]
fn two_of_four_weights_are_zero_and_nothing_else_changes() {
    for name in MODELS {
        let directory = tiny(name);
        for (method, folder) in [(SparseMethod::Wanda, "wanda"), (SparseMethod::SparseGpt, "sparsegpt")] {
            let out = directory.path().join(folder);
            sparsify(directory.path(), method, &out);
            let (before, after) = (tensors(directory.path()), tensors(&out));
            assert_eq!(before.len(), after.len());
            for (tensor, (shape, values, linear)) in &after {
                let (old_shape, old, _) = &before[tensor];
                assert_eq!(shape, old_shape);
                if !linear {
                    assert!(values == old, "{name}: {tensor}");
                    continue;
                }
                let zeros = |group: &[f32]| group.iter().filter(|x| **x == 0.0).count();
                assert!(values.chunks(4).all(|group| zeros(group) >= 2), "{name}: {tensor}");
                let unchanged = values.iter().zip(old).all(|(x, y)| *x == 0.0 || x == y);
                assert_eq!(unchanged, method == SparseMethod::Wanda, "{name}: {tensor}");
            }
            let texts = id_texts(&sequences());
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = |path: &Path| load(path).encode(&texts, TextKind::Passage).unwrap();
            assert!(deviation(&vectors(&out), &vectors(directory.path())) > 1e-4, "{name}");
        }
    }
}

/// Each layer is pruned by its inputs behind layers that are sparse already. To see these inputs, the test runs a
/// model whose first layers come from the sparse model.
#[test]
fn layers_are_calibrated_behind_sparse_ones() {
    for name in ["bert", "mistral", "modernbert"] {
        let directory = tiny(name);
        let out = directory.path().join("out");
        sparsify(directory.path(), SparseMethod::Wanda, &out);
        let (dense, sparse) = (tensors(directory.path()), tensors(&out));
        let architecture = Architecture::read(directory.path().join("config.json")).unwrap();
        let encoder = load(directory.path());
        let texts = id_texts(&sequences());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = encoder.tokenize(&texts, TextKind::Passage).unwrap();
        let spans = Spans::from_lengths(tokens.iter().map(Vec::len));
        for layer in 0..architecture.layers.len() {
            let mixed = TempDir::new().unwrap();
            let is_before = |tensor: &str| {
                let number = tensor.split('.').find_map(|part| part.parse::<usize>().ok());
                number.is_some_and(|number| number < layer)
            };
            let of = |tensor: &String| if is_before(tensor) { &sparse[tensor] } else { &dense[tensor] };
            let parts: Vec<Tensor> = dense
                .keys()
                .map(|tensor| {
                    let (shape, values, _) = of(tensor).clone();
                    Tensor { name: tensor.clone(), shape, values }
                })
                .collect();
            write_tensors(&mixed.path().join("model.safetensors"), &parts, Dtype::F32);
            let checkpoint = Checkpoint::open(mixed.path()).unwrap();
            let ops = Cpu::serial();
            let model = Transformer::load(&ops, architecture.clone(), &checkpoint).unwrap();
            let mut squares: Vec<f64> = Vec::new();
            model
                .forward_observed(&ops, &tokens.concat(), &spans, &mut |stage, x| {
                    if stage == Stage::Input(layer, LinearInput::MlpOutput) {
                        let columns = x.values().len() / spans.num_tokens();
                        squares = vec![0.0; columns];
                        for row in x.values().chunks_exact(columns) {
                            squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
                        }
                    }
                    Ok(())
                })
                .unwrap();
            let output = ["mlp.down_proj.weight", "mlp.Wo.weight", "output.dense.weight"];
            let (tensor, (_, weights, _)) = dense
                .iter()
                .find(|(tensor, _)| {
                    tensor.contains(&format!(".{layer}."))
                        && !tensor.contains("attention")
                        && output.iter().any(|suffix| tensor.ends_with(suffix))
                })
                .unwrap();
            let pruned = &sparse[tensor].1;
            for (place, (weights, pruned)) in weights.chunks(4).zip(pruned.chunks(4)).enumerate() {
                let column = place * 4 % squares.len();
                let product = |i: usize| f64::from(weights[i].abs()) * squares[column + i].sqrt();
                for gone in (0..4).filter(|i| pruned[*i] == 0.0) {
                    for kept in (0..4).filter(|i| pruned[*i] != 0.0) {
                        // Sums of squares in another order.
                        assert!(product(gone) <= product(kept) * (1.0 + 1e-9), "{name}: {tensor}, {place}");
                    }
                }
            }
        }
    }
}
