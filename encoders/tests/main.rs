//! Tests of the encoders crate through its public API.

/// LoRA adapters as PEFT writes them, merged at load or into a new directory.
mod adapters;
/// Checkpoints as people have them: element types, shards, names, dropped sub-layers, damage.
mod checkpoints;
/// Models without some of their sub-layers: written, loaded, pruned again.
mod depth;
/// Models for other programs: filled up with zeros, or with blocks that say what each layer has.
mod export;
/// Disks that fail, and power that does: checkpoints of training and model directories.
#[cfg(unix)]
mod faults;
/// GPUs: every family on a CPU that runs the kernels of a GPU.
mod gpu;
/// Importance against PyTorch (tests/fixtures/importance/generate.py), and what must not change it.
mod importance;
/// Models that are stored in 8 bits: the same vectors as quantizing at load, and what is refused.
mod int8_files;
/// The memory of encoding long texts. It is read in a process of its own.
#[cfg(target_os = "linux")]
mod long_texts;
/// The memory of loading a model. It is read in a process of its own.
#[cfg(target_os = "linux")]
mod memory;
/// all-MiniLM-L6-v2 against recorded outputs of transformers (tests/fixtures/minilm/generate.py).
mod minilm;
/// The memory of a process.
#[cfg(target_os = "linux")]
mod process;
/// Quantized models: at load, on disk and dequantized they are one model.
mod quantize;
/// Checkpoints as they are in the world, against their reference libraries (tests/fixtures/checkpoints/generate.py).
mod references;
/// Fingerprints that are kept: they are found again, and changed files are noticed.
mod remembered;
/// Settings of all files are heeded or refused by name.
mod settings;
/// Models with two of every four weights zero.
mod sparse;
/// The forward against candle-transformers' own BERT, an implementation that shares no code with ours.
mod stock_candle;
/// The tiny models: checkpoints made from a formula, and recorded outputs.
mod support;
/// Every family against recorded outputs of transformers in f64 (tests/fixtures/tiny_models).
mod tiny_models;
/// From text to ids and from hidden states to vectors, as the files of a model directory say.
mod tokenization;
/// The similarity of a query and documents, layer by layer.
mod trace;
/// Models without some neurons of their MLPs: masked, narrowed, scored.
mod width;
