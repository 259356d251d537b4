//! `secateur model inspect`: what a model is, without encoding anything.

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use secateur::encode::DEFAULT_ENCODER;
use secateur::encoders::QuantizedFormat;
use secateur::encoders::architecture::Storage;
use secateur::encoders::inspect::{
    InForce, InspectOptions, Inspection, LanguageModelHead, Layer, Size, SpecialTokens,
};
use secateur::encoders::{self, EncoderSettings, known_models};
use secateur::prune::Variant;
use secateur::report::{Align, Table, counted, mteb_model_meta};

use crate::cli::as_json;
use crate::cli::encoder::{base_directory, cached_model, model_directory, tell};
use crate::cli::failure::{Code, Failure, Result};

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur model inspect .models/all-MiniLM-L6-v2
  secateur model inspect mistral-7b --drop-mlp 16 --width 0.7 --quantize nf4")]
pub struct Arguments {
    /// A model directory, a config.json, a known NAME (see --list), or OWNER/NAME of the hub.
    #[arg(required_unless_present = "list")]
    model: Option<String>,
    /// Print the names that are known without any files.
    #[arg(long)]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the fields of MTEB's ModelMeta that the model's files decide, as JSON.
    #[arg(long, conflicts_with = "json")]
    mteb: bool,
    /// The model that an adapter goes with [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Read the model's files as if they did not have this setting: KEY, or OUTER.KEY.
    #[arg(long, value_name = "KEY")]
    ignore_setting: Vec<String>,
    /// Refuse a model whose files leave open how texts are encoded, instead of assuming something.
    #[arg(long)]
    strict: bool,
    /// Tokens of the text that operations are counted for [default: 512, or the model's maximum].
    #[arg(long, value_name = "TOKENS")]
    length: Option<usize>,
    /// Say what the weights would take with the linear layers stored in this way.
    #[arg(long)]
    quantize: Option<QuantizedFormat>,
    #[command(flatten)]
    cut: CutArguments,
}

/// What to leave out of the model before it is counted. Which layers it is taken from does not matter for counts.
#[derive(Args)]
#[command(next_help_heading = "Count what would be left")]
struct CutArguments {
    /// Drop the attention of this many layers.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, hide_default_value = true)]
    drop_attention: usize,
    /// Drop the MLP of this many layers.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, hide_default_value = true)]
    drop_mlp: usize,
    /// Drop both from this many layers.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, hide_default_value = true)]
    drop_blocks: usize,
    /// The same, from the last layers: the counts are those of --drop-blocks.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, hide_default_value = true)]
    drop_last_blocks: usize,
    /// The share of the remaining MLPs' neurons that stays.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, hide_default_value = true)]
    width: f64,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let Some(model) = self.model.as_deref().filter(|_| !self.list) else { return Ok(list()) };
        let cut = &self.cut;
        let options = InspectOptions {
            base: self.base.as_deref().map(model_directory).transpose()?,
            without: Variant {
                last_blocks: cut.drop_last_blocks,
                blocks: cut.drop_blocks,
                mlp: cut.drop_mlp,
                attention: cut.drop_attention,
            },
            width: Some(cut.width),
            length: self.length,
            storage: self.quantize.map(QuantizedFormat::storage),
            ignore_settings: self.ignore_setting.clone(),
        };
        let inspection = inspect(model, options)?;
        if let (true, Some(notice)) = (self.strict, inspection.notices.first()) {
            return Err(encoders::Error::Assumed { notice: notice.clone() }.into());
        }
        tell(&inspection.notices);
        if self.mteb {
            return Ok(format!("{:#}\n", mteb_model_meta(&inspection)));
        }
        if self.json {
            return as_json(&inspection);
        }
        Ok(text(&inspection))
    }
}

/// Files that are here come before the known models, and these before a download.
fn inspect(model: &str, options: InspectOptions) -> Result<Inspection> {
    let of_directory = |directory: &Path| -> Result<Inspection> {
        let base = match &options.base {
            Some(base) => Some(base.clone()),
            None => base_directory(directory, None, &options.ignore_settings)?,
        };
        Ok(Inspection::of_path(directory, &InspectOptions { base, ..options.clone() })?)
    };
    let path = Path::new(model);
    if path.exists() {
        return of_directory(path);
    }
    let Some(backbone) = known_models::find(model) else {
        if !model.contains('/') && model != DEFAULT_ENCODER {
            let message = format!(
                "there is no {model} here, and no backbone of that name is known; `secateur model inspect --list` prints \
                 the names"
            );
            return Err(Failure::new(Code::Input, message));
        }
        return of_directory(&model_directory(model)?);
    };
    match cached_model(model) {
        Some(directory) => of_directory(&directory),
        None => Ok(Inspection::of_backbone(backbone, &options)?),
    }
}

fn list() -> String {
    let mut table = Table::new([
        ("name", Align::Left),
        ("repository", Align::Left),
        ("family", Align::Left),
        ("parameters", Align::Right),
    ]);
    for backbone in known_models::all() {
        let architecture = backbone.architecture();
        table.row([
            backbone.name(),
            backbone.repository(),
            architecture.family,
            &billions(architecture.parameters().total()),
        ]);
    }
    table.to_string()
}

/// What people read.
fn text(inspection: &Inspection) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_text(&mut out, inspection);
    out
}

fn write_text(out: &mut String, inspection: &Inspection) -> std::fmt::Result {
    let Inspection { name, family, layers, parameters, flop_per_token: flop, .. } = inspection;
    let class = inspection.class.as_ref().map_or_else(String::new, |class| format!(" ({class})"));
    let direction = if inspection.causal { "causal" } else { "bidirectional" };
    writeln!(out, "{name}: {family}{class}, {direction}")?;
    let Inspection { num_heads, num_key_value_heads, head_dim, hidden_size, vocab_size, .. } = inspection;
    writeln!(
        out,
        "hidden size {hidden_size}, vocabulary {vocab_size}, {num_heads} heads of {head_dim}, {num_key_value_heads} for keys \
         and values"
    )?;
    if let Some(max_tokens) = inspection.max_tokens {
        writeln!(out, "positions for {max_tokens} tokens")?;
    }
    write!(out, "\n{}\n", layer_table(layers))?;

    let mut table = Table::new([("parameters", Align::Left), ("", Align::Right), ("", Align::Right)]);
    let mut row = |name: &str, count: usize| table.row([name, &count.to_string(), &billions(count)]);
    row("embeddings", parameters.embeddings);
    row("attention", parameters.attention);
    row("MLPs", parameters.mlp);
    row("norms", parameters.norms);
    row("total", inspection.total_parameters);
    if let LanguageModelHead::Own(_) = inspection.language_model_head {
        row("with the language-model head", inspection.total_with_head());
    }
    writeln!(out, "{table}")?;

    // As the sizes of models differ by three orders of magnitude.
    let decimals = if flop.linear < 1e9 { 4 } else { 2 };
    // A model without layers has none, which floating point may call -0.
    let giga = |flop: f64| format!("{:.decimals$}", if flop > 0.0 { flop / 1e9 } else { 0.0 });
    writeln!(
        out,
        "GFLOP a token: {} in linear layers + {} in attention at length {} = {}",
        giga(flop.linear),
        giga(flop.attention),
        flop.length,
        giga(flop.total())
    )?;
    for size in &inspection.sizes {
        writeln!(out, "{}", size_line(size))?;
    }
    write_files(out, inspection)
}

/// The part that depends on files beside config.json.
fn write_files(out: &mut String, inspection: &Inspection) -> std::fmt::Result {
    if let Some(settings) = &inspection.settings {
        write!(out, "\n{}", encoding(settings, inspection.special_tokens.as_ref()))?;
    }
    let Some(weights) = &inspection.weights else {
        return writeln!(out, "\n{:LABEL$}none here", "weights");
    };
    writeln!(out)?;
    for (file, bytes) in &weights.files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(out, "{:LABEL$}{name}, {bytes} bytes", "weights")?;
    }
    for (dtype, tensors) in &weights.dtypes {
        writeln!(out, "{:LABEL$}{dtype}: {}", "stored as", counted(*tensors, "tensor"))?;
    }
    for (what, tensors) in [("not used", &weights.unused), ("missing", &weights.missing)] {
        if let Some(first) = tensors.first() {
            writeln!(out, "{what:LABEL$}{}, such as {first}", counted(tensors.len(), "tensor"))?;
        }
    }
    if let Some(fingerprint) = &inspection.fingerprint {
        writeln!(out, "{:LABEL$}{fingerprint}", "fingerprint")?;
    }
    if inspection.in_force.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)]);
    for InForce { setting, value, from } in &inspection.in_force {
        table.row([setting.as_str(), &shortened(value), from]);
    }
    write!(out, "\n{table}")
}

/// A value that fits a line.
fn shortened(value: &serde_json::Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// How texts become vectors.
pub fn encoding(settings: &EncoderSettings, tokens: Option<&SpecialTokens>) -> String {
    let scaled = if settings.normalize { ", scaled to length 1" } else { "" };
    let mut lines = vec![
        ("pooling", format!("{}{scaled}", settings.pooling)),
        ("max length", lengths(settings)),
        ("query prompt", format!("{:?}", settings.query_prompt)),
        ("passage prompt", format!("{:?}", settings.passage_prompt)),
    ];
    if let Some(tokens) = tokens {
        let spelled =
            |tokens: &[String]| if tokens.is_empty() { "nothing".to_owned() } else { tokens.join(" ") };
        let side = tokens.padding_side.as_deref().unwrap_or("not said");
        lines.push(("before a text", spelled(&tokens.before)));
        lines.push(("after a text", spelled(&tokens.after)));
        lines.push(("padding side", format!("{side}; texts are not padded here")));
    }
    lines.iter().map(|(name, value)| format!("{name:LABEL$}{value}\n")).collect()
}

fn lengths(settings: &EncoderSettings) -> String {
    let own =
        |kind: &str, length: Option<usize>| length.map_or_else(String::new, |n| format!(", {n} of a {kind}"));
    format!(
        "{} tokens{}{}",
        settings.max_length,
        own("query", settings.query_length),
        own("passage", settings.passage_length)
    )
}

/// The width of the first column.
const LABEL: usize = 16;

/// A row for each run of layers that are alike.
fn layer_table(layers: &[Layer]) -> Table {
    let mut table = Table::new([
        ("layers", Align::Left),
        ("attention", Align::Left),
        ("reach", Align::Right),
        ("MLP width", Align::Right),
    ]);
    let mut first = 0;
    for alike in layers.chunk_by(|a, b| a == b) {
        let last = first + alike.len() - 1;
        let Layer { attention, window, intermediate_size } = alike[0];
        table.row([
            if first == last { first.to_string() } else { format!("{first}-{last}") },
            (if attention { "yes" } else { "dropped" }).to_owned(),
            window.map_or_else(String::new, |window| window.to_string()),
            intermediate_size.map_or_else(|| "dropped".to_owned(), |width| width.to_string()),
        ]);
        first += alike.len();
    }
    table
}

fn size_line(size: &Size) -> String {
    let spelled = |bytes: usize| match bytes as f64 / f64::from(1 << 30) {
        gib if gib < 1.0 => format!("{:.1} MiB", gib * 1024.0),
        gib => format!("{gib:.1} GiB"),
    };
    let linear = match size.linear_layers {
        Storage::F32 => "f32",
        Storage::Half => "16 bits",
        Storage::Int8 => "8 bits",
        Storage::Nf4 => "NF4",
    };
    let head = match size.bytes_with_head {
        bytes if bytes == size.bytes => String::new(),
        bytes => format!(", {} with the language-model head", spelled(bytes)),
    };
    format!("size with linear layers in {linear}, all else in f32: {}{head}", spelled(size.bytes))
}

/// As the paper prints counts.
fn billions(count: usize) -> String {
    match count {
        100_000_000.. => format!("{:.1}B", count as f64 / 1e9),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}
