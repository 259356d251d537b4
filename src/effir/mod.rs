//! EffiR from one recipe: score, drop, slim, train, narrow, evaluate (Lei et al. 2025, arXiv 2512.20612).
//!
//! A [`Recipe`] is a value, or a file of TOML or JSON. [`Recipe::run`] works in a folder, continues there after an
//! interruption, and returns a [`Report`].
//!
//! ```no_run
//! use secateur::effir::Recipe;
//!
//! let recipe = Recipe::read("encoders/recipes/minilm.toml")?;
//! let report = recipe.run("small", &mut |stage, progress| eprintln!("{stage}: {progress:?}"))?;
//! println!("{report}");
//! # Ok::<(), secateur::Error>(())
//! ```

mod folder;
mod inputs;
mod read;
mod recipe;
mod report;
mod run;
mod stage;

pub use inputs::{Input, InputKind};
pub use recipe::{EvaluateOptions, Recipe};
pub use report::{MeasuredModel, OnDataset, Report};
pub use stage::Stage;
