//! LoRA adapters as PEFT writes them: what an adapter adds to a model's weights.

pub(crate) mod config;
pub(crate) mod keys;
mod residual;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::shards::{Shards, StoredTensor};
use crate::weights::tensors::Tensors;
use config::{Config, LoraInit};

/// An adapter, read but not yet applied.
pub struct Adapter {
    path: PathBuf,
    config: Config,
    file: Checkpoint,
    /// What the adapter holds for each tensor of the base, by the tensor's name without any prefix.
    changes: BTreeMap<String, Change>,
}

/// Names of tensors of the adapter's file.
#[derive(Default)]
struct Change {
    /// Stands in for the base's tensor.
    replacement: Option<String>,
    /// Is added to it.
    product: Option<Product>,
    /// Rows that stand in for some of it.
    rows: Option<String>,
}

/// W + scaling B A, with A (r, in) and B (out, r). For an embedding table it is W + scaling (B A)^T, with A (r, V) and
/// B (D, r).
#[derive(Default)]
struct Product {
    /// The module as the adapter names it, which the patterns of its configuration are matched with.
    module: String,
    a: Option<String>,
    b: Option<String>,
    /// The lengths of the sum's rows, or of an embedding table's columns.
    magnitudes: Option<String>,
    embedding: bool,
}

impl Adapter {
    /// Reads the LoRA adapter that PEFT wrote to a directory. `architecture` is that of the base; its vocabulary
    /// becomes the adapter's where that replaces the embeddings.
    ///
    /// # Errors
    ///
    /// A file of the adapter is missing or damaged, or says what cannot be merged.
    pub fn open(directory: &Path, architecture: &mut Architecture) -> Result<Adapter> {
        Adapter::open_without(directory, architecture, &[])
    }

    /// The model that the adapter of a directory names, as `OWNER/NAME` or `OWNER/NAME@REVISION`, where that is no
    /// directory here. `None` if it is, and where the directory has no adapter, or a model beside it.
    ///
    /// # Errors
    ///
    /// adapter_config.json cannot be read, or says what is not known.
    pub fn base_name(directory: &Path, ignored: &[String]) -> Result<Option<String>> {
        if !directory.join(config::FILE).exists() || directory.join("config.json").exists() {
            return Ok(None);
        }
        Ok(Config::read(directory, ignored)?.base_name(directory))
    }

    /// The same without the settings to ignore.
    pub(crate) fn open_without(
        directory: &Path,
        architecture: &mut Architecture,
        ignored: &[String],
    ) -> Result<Adapter> {
        let config = Config::read(directory, ignored)?;
        let names = ["adapter_model.safetensors", "adapter_model.bin"];
        let Some(path) = names.iter().map(|name| directory.join(name)).find(|path| path.exists()) else {
            return Err(Error::MissingFile {
                directory: directory.to_owned(),
                file: "adapter_model.safetensors (nor adapter_model.bin)",
                advice: "fetch the adapter's weights, or save them with PEFT's save_pretrained",
            });
        };
        let file = Checkpoint::new(Shards::open_file(&path)?);
        let mut changes: BTreeMap<String, Change> = BTreeMap::new();
        for tensor in file.iter() {
            let Some(part) = AdapterTensor::parse(tensor.name) else {
                return Err(Error::AdapterTensorWithoutHome { path, tensor: tensor.name.to_owned() });
            };
            if part.module.starts_with("lm_head") {
                // The language-model head, saved whole beside resized embeddings, takes no part in encoding.
                continue;
            }
            let home = architecture.bare_name(&part.home).to_owned();
            let change = changes.entry(home).or_default();
            let name = Some(tensor.name.to_owned());
            match part.role {
                Role::Whole => change.replacement = name,
                Role::Rows => change.rows = name,
                Role::A { embedding } | Role::B { embedding } => {
                    let product = change.product.get_or_insert_default();
                    product.module = part.module;
                    product.embedding = embedding;
                    let side =
                        if matches!(part.role, Role::A { .. }) { &mut product.a } else { &mut product.b };
                    *side = name;
                }
                Role::Magnitudes => {
                    let product = change.product.get_or_insert_default();
                    product.module = part.module;
                    product.magnitudes = name;
                }
            }
        }
        let adapter = Adapter { path, config, file, changes };
        if let Some(tensor) = adapter.replacement(&architecture.token_embeddings().name)
            && let [rows, _] = *tensor.shape
        {
            architecture.vocab_size = rows;
        }
        Ok(adapter)
    }

    /// Refuses an adapter with a tensor for which the model has no place, such as one for a dropped sub-layer. Such an
    /// adapter was trained on another model.
    pub(super) fn check(&self, architecture: &Architecture) -> Result<()> {
        let homes: std::collections::BTreeSet<String> =
            architecture.tensors().into_iter().map(|tensor| tensor.name).collect();
        match self.changes.iter().find(|(home, _)| !homes.contains(*home)) {
            None => Ok(()),
            Some((_, change)) => {
                let Change { replacement, product, rows } = change;
                let product =
                    product.iter().flat_map(|product| [&product.a, &product.b, &product.magnitudes]);
                let tensor = [replacement, rows].into_iter().chain(product).find_map(Option::as_ref);
                Err(Error::AdapterTensorWithoutHome {
                    path: self.path.clone(),
                    tensor: tensor.cloned().unwrap_or_default(),
                })
            }
        }
    }

    /// The tensors of its file.
    pub(crate) fn shards(&self) -> &Shards {
        self.file.shards()
    }

    /// The directory it was read from.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Whether a tensor of the base, by its name without prefix, is changed.
    pub(crate) fn changes(&self, bare_name: &str) -> bool {
        self.changes.contains_key(bare_name)
    }

    /// The tensor that replaces a tensor of the base, by the base tensor's name without prefix.
    pub(crate) fn replacement(&self, bare_name: &str) -> Option<StoredTensor<'_>> {
        self.file.stored(self.changes.get(bare_name)?.replacement.as_ref()?)
    }

    /// Its values.
    pub(crate) fn replacement_values(
        &self,
        bare_name: &str,
        shape: &[usize],
    ) -> Result<Option<Cow<'_, [f32]>>> {
        let replacement = self.changes.get(bare_name).and_then(|change| change.replacement.as_ref());
        replacement.map(|name| self.file.values(name, shape)).transpose()
    }

    /// Changes a matrix of the base as the adapter says: `values` is (rows, columns).
    pub(crate) fn change(
        &self,
        bare_name: &str,
        values: &mut [f32],
        rows: usize,
        columns: usize,
    ) -> Result<()> {
        let Some(change) = self.changes.get(bare_name) else { return Ok(()) };
        if let Some(name) = &change.rows {
            self.replace_rows(bare_name, name, values, columns)?;
        }
        let Some(product) = &change.product else { return Ok(()) };
        let rank = self.config.rank(&product.module);
        let scaling = self.config.scaling(&product.module);
        match self.config.init {
            // PEFT begins additions to embedding tables in the usual way.
            _ if product.embedding => {}
            LoraInit::Apart => {}
            LoraInit::Pissa => residual::without_principal(values, columns, rank),
            LoraInit::Olora => residual::without_first_columns(values, columns, rank, scaling),
        }
        self.add(product, values, rows, columns)?;
        if self.config.scales_rows {
            self.scale(product, values, rows, columns)?;
        }
        Ok(())
    }

    /// Adds a product.
    fn add(&self, product: &Product, values: &mut [f32], rows: usize, columns: usize) -> Result<()> {
        let rank = self.config.rank(&product.module);
        let scaling = self.config.scaling(&product.module) as f32;
        let part = |name: &Option<String>, letter: &str, rows, columns| match name {
            Some(name) => self.file.matrix(name, rows, columns),
            None => Err(Error::MissingTensor {
                path: self.path.clone(),
                tensor: format!("{}.lora_{letter}", product.module),
            }),
        };
        // The product for an embedding table is transposed: its inputs are the rows.
        let (inputs, outputs) = if product.embedding { (rows, columns) } else { (columns, rows) };
        let a = part(&product.a, "A", rank, inputs)?;
        let b = part(&product.b, "B", outputs, rank)?;
        values.par_chunks_exact_mut(columns).enumerate().for_each_init(Vec::new, |sums, (row, out)| {
            sums.clear();
            sums.resize(columns, 0.0f32);
            if product.embedding {
                for (sum, b) in sums.iter_mut().zip(b.values.chunks_exact(rank)) {
                    *sum = b.iter().enumerate().map(|(r, b)| b * a.values[r * inputs + row]).sum();
                }
            } else {
                let b = &b.values[row * rank..(row + 1) * rank];
                for (b, a) in b.iter().zip(a.values.chunks_exact(inputs)) {
                    sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += b * a);
                }
            }
            out.iter_mut().zip(&*sums).for_each(|(x, sum)| *x += scaling * sum);
        });
        Ok(())
    }

    /// Gives the rows of a sum the lengths that were trained, or the columns of an embedding table (Liu et al. 2024,
    /// equation 5).
    fn scale(&self, product: &Product, values: &mut [f32], rows: usize, columns: usize) -> Result<()> {
        let Some(name) = &product.magnitudes else {
            return Err(Error::MissingTensor {
                path: self.path.clone(),
                tensor: format!("{}.lora_magnitude_vector", product.module),
            });
        };
        let magnitudes = self.file.vector(name, if product.embedding { columns } else { rows })?;
        if product.embedding {
            let mut squares = vec![0.0f64; columns];
            for row in values.chunks_exact(columns) {
                squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
            }
            let factors: Vec<f32> = magnitudes
                .iter()
                .zip(&squares)
                .map(|(m, square)| (f64::from(*m) / square.sqrt()) as f32)
                .collect();
            for row in values.chunks_exact_mut(columns) {
                row.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
            }
            return Ok(());
        }
        values.par_chunks_exact_mut(columns).zip(&magnitudes[..]).for_each(|(row, magnitude)| {
            let square: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let factor = (f64::from(*magnitude) / square.sqrt()) as f32;
            row.iter_mut().for_each(|x| *x *= factor);
        });
        Ok(())
    }

    /// Puts trained rows in the place of the base's.
    fn replace_rows(&self, bare_name: &str, tensor: &str, values: &mut [f32], columns: usize) -> Result<()> {
        let table = bare_name.strip_suffix(".weight").unwrap_or(bare_name);
        let wanted = self.config.tokens_of(table).unwrap_or_default();
        let trained = self.file.matrix(tensor, wanted.len(), columns)?;
        for (row, trained) in wanted.iter().zip(trained.values.chunks_exact(columns)) {
            let Some(place) = values.get_mut(row * columns..(row + 1) * columns) else {
                return Err(Error::InvalidField {
                    path: self.directory().join(config::FILE),
                    field: "trainable_token_indices".to_owned(),
                    found: row.to_string(),
                    expected: format!("rows of the base's table, of {}", values.len() / columns),
                });
            };
            place.copy_from_slice(trained);
        }
        Ok(())
    }
}

/// A tensor's name in an adapter, taken apart.
struct AdapterTensor {
    /// The module, such as `model.layers.0.mlp.up_proj`.
    module: String,
    /// The tensor of the base that it changes.
    home: String,
    role: Role,
}

enum Role {
    A {
        embedding: bool,
    },
    B {
        embedding: bool,
    },
    /// The lengths of rows or columns.
    Magnitudes,
    /// Rows of an embedding table.
    Rows,
    /// Saved whole: `modules_to_save`, resized embeddings, trained biases.
    Whole,
}

impl AdapterTensor {
    /// `base_model.model.` and the module's path in the model that the adapter was trained in: with or without a head.
    fn parse(name: &str) -> Option<AdapterTensor> {
        let path = name.strip_prefix("base_model.model.")?;
        // The adapter's own name is in some files, and the wrappers that PEFT puts around a module.
        let path =
            path.replace(".default.", ".").replace(".modules_to_save.", ".").replace(".base_layer.", ".");
        let path = path.strip_suffix(".default").unwrap_or(&path);
        let lora = [
            (".lora_A.weight", Role::A { embedding: false }),
            (".lora_B.weight", Role::B { embedding: false }),
            (".lora_embedding_A", Role::A { embedding: true }),
            (".lora_embedding_B", Role::B { embedding: true }),
            (".lora_magnitude_vector", Role::Magnitudes),
            (".lora_magnitude_vector.weight", Role::Magnitudes),
            (".token_adapter.trainable_tokens_delta", Role::Rows),
        ];
        for (suffix, role) in lora {
            if let Some(module) = path.strip_suffix(suffix) {
                return Some(AdapterTensor {
                    module: module.to_owned(),
                    home: format!("{module}.weight"),
                    role,
                });
            }
        }
        let (module, _) = path.rsplit_once('.')?;
        Some(AdapterTensor { module: module.to_owned(), home: path.to_owned(), role: Role::Whole })
    }
}
