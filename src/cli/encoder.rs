//! Which encoder a command uses: from the command line, or from what a database says of itself.

use std::io::Write;
use std::path::{Display, Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use secateur::database::{EncoderRecord, EncoderSource};
use secateur::encode::{
    DEFAULT_ENCODER, Device, Pooling, Precision, Quantization, default_encoder_version, write_default_encoder,
};
use secateur::encoders::{Adapter, Notice};
use secateur::index::Error as IndexError;
use secateur::{Database, Encoder, Error, LoadOptions};

use super::failure::{Code, Failure, Result, warn};
use super::inputs::{cache, hub};
use crate::download::{Fetcher, HubConfig, resolve_model};

/// An encoder and what differs from what its directory says.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Encoder")]
pub struct EncoderArguments {
    /// A model directory, OWNER/NAME of the Hugging Face hub, or `default`, the encoder in the box.
    #[arg(long, value_name = "MODEL")]
    pub encoder: Option<String>,
    /// Cut texts to this many tokens, special tokens included [default: as the model says].
    #[arg(long, value_name = "TOKENS", requires = "encoder")]
    pub max_length: Option<usize>,
    /// How token vectors become one [default: as the model says].
    #[arg(long, requires = "encoder")]
    pub pooling: Option<Pooling>,
    /// Text to put before every query [default: as the model says].
    #[arg(long, value_name = "TEXT", requires = "encoder")]
    pub query_prompt: Option<String>,
    /// Text to put before every passage [default: as the model says].
    #[arg(long, value_name = "TEXT", requires = "encoder")]
    pub passage_prompt: Option<String>,
    /// Cut vectors to this many numbers. A model that lists the lengths it was trained for takes these alone.
    #[arg(long, value_name = "DIM", requires = "encoder")]
    pub truncate_dim: Option<usize>,
    /// The model that an adapter is merged into [default: the one its adapter_config.json names].
    #[arg(long, value_name = "MODEL", requires = "encoder")]
    pub base: Option<String>,
    /// How precisely linear layers are multiplied; vectors of different precisions do not mix in one database
    /// [default: f32 on a CPU, bf16 on a GPU].
    #[arg(long, requires = "encoder")]
    pub precision: Option<Precision>,
    /// Where to compute: cpu, cuda:N for the GPU of that number, cuda:all for all GPUs, or auto for a GPU if there is
    /// one. Many queries search a flat index there too.
    #[arg(long, default_value_t, hide_default_value = true)]
    pub device: Device,
    /// Tokens computed together, by each thread on a CPU: more need more memory and change no vector.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_tokens: Option<u32>,
    /// Keep linear layers in fewer bits.
    #[arg(long, requires = "encoder")]
    pub quantize: Option<Quantization>,
    /// Read the model's files as if they did not have this setting: KEY, or OUTER.KEY.
    #[arg(long, value_name = "KEY", requires = "encoder")]
    pub ignore_setting: Vec<String>,
    /// Refuse what is otherwise told by a warning: a model whose files leave open how texts are encoded, documents
    /// without text, judgments of unknown documents.
    #[arg(long)]
    pub strict: bool,
}

/// What `--encoder` says for a database that is searched by words alone.
const NO_ENCODER: &str = "none";

/// The help of `--encoder` where the encoder in the box is the default.
pub const ENCODER_OR_DEFAULT: &str = "A model directory, OWNER/NAME of the Hugging Face hub, `default`, the encoder in the box, or \
     `none` for words alone [default: default]";

impl EncoderArguments {
    /// The same with this encoder where none is named, and without one for `none`.
    pub fn or_named(&self, default: Option<&str>) -> Result<EncoderArguments> {
        let named = self.encoder.as_deref().or(default);
        if named == Some(NO_ENCODER) && self.options() != self.passing().options() {
            let message =
                "with --encoder none no text is encoded, so an encoder's options do nothing: leave them out";
            return Err(Failure::new(Code::Usage, message));
        }
        let encoder = named.filter(|name| *name != NO_ENCODER).map(str::to_owned);
        Ok(EncoderArguments { encoder, ..self.clone() })
    }

    /// Loads the encoder, if one is named.
    pub fn load(&self) -> Result<Option<Arc<Encoder>>> {
        self.source().as_ref().map(load).transpose()
    }

    /// Loads the encoder of a command that clap refuses without one.
    pub fn load_required(&self) -> Result<Arc<Encoder>> {
        load(&self.source().expect("the command line has --encoder"))
    }

    /// The encoder that is named, and how it is to be loaded.
    pub fn source(&self) -> Option<EncoderSource> {
        Some(EncoderSource { model: self.encoder.clone()?, options: self.options() })
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            name: None,
            pooling: self.pooling,
            max_length: self.max_length,
            query_prompt: self.query_prompt.clone(),
            passage_prompt: self.passage_prompt.clone(),
            truncate_dim: self.truncate_dim,
            base: self.base.as_ref().map(PathBuf::from),
            precision: self.precision,
            device: self.device,
            batch_tokens: self.batch_tokens.map(|tokens| tokens as usize),
            quantize: self.quantize,
            ignore_settings: self.ignore_setting.clone(),
            strict: self.strict,
            cache: None,
        }
    }

    /// Refuses an encoder that could do nothing.
    pub fn refuse_unless(&self, needs_encoder: bool) -> Result<()> {
        if needs_encoder || self.encoder.is_none() {
            return Ok(());
        }
        let message =
            "--encoder does nothing here: no text is encoded; leave it out, or choose another --mode";
        Err(Failure::new(Code::Usage, message))
    }

    /// Of these arguments those that change no vector.
    fn passing(&self) -> EncoderArguments {
        let (device, batch_tokens, strict) = (self.device, self.batch_tokens, self.strict);
        EncoderArguments { device, batch_tokens, strict, ..EncoderArguments::default() }
    }

    /// What a database remembers, where these arguments say nothing.
    fn or(&self, remembered: Option<EncoderSource>) -> Option<EncoderSource> {
        let given = self.options();
        let Some(model) = self.encoder.clone() else {
            let EncoderSource { model, options } = remembered?;
            let LoadOptions { device, batch_tokens, strict, .. } = given;
            let options = LoadOptions { device, batch_tokens, strict, ..options };
            return Some(EncoderSource { model, options });
        };
        let kept = remembered.map(|source| source.options).unwrap_or_default();
        // A base and a precision go with their encoder: those remembered do not with another one.
        let options = LoadOptions {
            pooling: given.pooling.or(kept.pooling),
            max_length: given.max_length.or(kept.max_length),
            query_prompt: given.query_prompt.or(kept.query_prompt),
            passage_prompt: given.passage_prompt.or(kept.passage_prompt),
            truncate_dim: given.truncate_dim.or(kept.truncate_dim),
            quantize: given.quantize.or(kept.quantize),
            ..given
        };
        Some(EncoderSource { model, options })
    }
}

/// The place of an encoder that is named, downloaded if need be.
pub fn located(source: &EncoderSource) -> Result<EncoderSource> {
    let EncoderSource { model, options } = source;
    let is_name = model == DEFAULT_ENCODER || !Path::new(model).exists();
    let (model, name) = match model == DEFAULT_ENCODER {
        true => (model.clone(), is_name.then(|| model.clone())),
        false => (model_directory(model)?.display().to_string(), is_name.then(|| model.clone())),
    };
    let base = options.base.as_ref().map(|base| base.to_string_lossy().into_owned());
    let base = base_directory(Path::new(&model), base.as_deref(), &options.ignore_settings)?;
    let options = LoadOptions { name, base, cache: kept_models(), ..options.clone() };
    Ok(EncoderSource { model, options })
}

/// The folder that keeps what was found out about models, see [`LoadOptions::cache`]. Without a home directory nothing
/// is kept, and loading takes longer.
pub fn kept_models() -> Option<PathBuf> {
    cache().ok().map(|folder| folder.join("fingerprints"))
}

/// Loads an encoder from where it is, downloaded or unpacked if need be.
fn load(source: &EncoderSource) -> Result<Arc<Encoder>> {
    let encoder = located(source)?.load()?;
    if encoder.options().device == Device::Auto {
        // Nothing can be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "computing on {}", encoder.computes_on());
    }
    tell(encoder.notices());
    Ok(Arc::new(encoder))
}

/// Says on standard error what is assumed of a model.
pub fn tell(notices: &[Notice]) {
    for notice in notices {
        // There is nobody left to tell if standard error is closed.
        let _ = writeln!(std::io::stderr(), "warning: {notice}");
    }
}

/// Whether what a model's files leave open is refused.
#[derive(Args, Clone, Copy)]
pub struct Strict {
    /// Refuse a model whose files leave open how texts are encoded, instead of assuming something.
    #[arg(long)]
    strict: bool,
}

impl Strict {
    /// Says on standard error what is assumed of a model that is loaded with these options, or refuses it.
    pub fn announce(self, directory: &Path, options: LoadOptions) -> Result<()> {
        announce(directory, self.strict, options)
    }
}

/// As [`Strict::announce`].
pub fn announce(directory: &Path, strict: bool, options: LoadOptions) -> Result<()> {
    let options = LoadOptions { strict, ..options };
    tell(&options.notices(directory)?);
    Ok(())
}

/// The directory of the base of the adapter in `directory`. It is the one that is given, or that of a model of the hub
/// that the adapter names. `None` where the library finds it itself.
pub fn base_directory(directory: &Path, given: Option<&str>, ignored: &[String]) -> Result<Option<PathBuf>> {
    if let Some(base) = given {
        return Ok(Some(model_directory(base)?));
    }
    match Adapter::base_name(directory, ignored)? {
        None => Ok(None),
        Some(name) => model_directory(&name).map(Some).map_err(|failure| {
            failure.told(|why| {
                format!(
                    "the base of the adapter {} is {name}: {why}; say where it is with --base",
                    directory.display()
                )
            })
        }),
    }
}

/// Opens a database with its encoder, if the command needs one. It is the encoder given, or the one that made the
/// vectors of the generation that is named or in use.
pub fn open_database(
    path: &Path,
    generation: Option<&str>,
    arguments: &EncoderArguments,
    needs_encoder: bool,
) -> Result<Database> {
    let mut database = Database::open(path)?;
    if let Some(name) = generation {
        database = database.generation(name)?;
    }
    arguments.refuse_unless(needs_encoder)?;
    let record = database.encoder_record();
    match &arguments.encoder {
        // That is refused, and says why.
        Some(_) if record.is_none() => return Ok(database.with_encoder(arguments.load_required()?)?),
        None if !needs_encoder || record.is_none_or(|record| record.source.is_none()) => return Ok(database),
        _ => (),
    }
    let path = path.display();
    let advice = format!(
        "say where it is with --encoder, for good with `secateur generation relocate {path} --encoder MODEL`, or search by \
         words with --mode bm25"
    );
    database.reload_encoder(|record| reload(record, arguments, &searched_with(path), &advice))
}

/// The encoder that a set of shards is searched with: the one given, or the one that it remembers.
pub fn load_for(path: &Path, record: &EncoderRecord, arguments: &EncoderArguments) -> Result<Arc<Encoder>> {
    let advice = "say where it is with --encoder, or search by words with --mode bm25";
    reload(record, arguments, &searched_with(path.display()), advice)
}

fn searched_with(path: Display<'_>) -> String {
    format!("the encoder that {path} is searched with")
}

/// Loads an encoder that is remembered, from where the arguments say or else from where it was. `whose` names it in
/// messages, and `advice` says what to do if it is not there.
fn reload(
    record: &EncoderRecord,
    arguments: &EncoderArguments,
    whose: &str,
    advice: &str,
) -> Result<Arc<Encoder>> {
    let Some(source) = arguments.or(record.source.clone()) else {
        let message = format!("{whose} is {}, and where that is was not kept: {advice}", record.name);
        return Err(Failure::new(Code::Database, message));
    };
    load(&source).map_err(|failure| match arguments.encoder {
        // The message names what was given.
        Some(_) => failure,
        None => failure.told(|why| format!("{whose} does not load: {why}; {advice}")),
    })
}

/// Searches the vectors of a database on the GPU that its encoder computes on, where that can be: for many queries.
/// Says so if the GPU has too little memory for them.
pub fn search_on_device(database: &mut Database, device: Device) -> Result<()> {
    match database.search_on(device) {
        Err(Error::Index(error @ IndexError::DeviceMemory { .. })) => {
            warn(&format!("{error}; the CPU searches, which finds the same"));
            Ok(())
        }
        result => Ok(result.map(|_| ())?),
    }
}

/// Opens a database with an encoder from another place than it remembers, and says how it was loaded.
pub fn open_relocated(
    path: &Path,
    generation: Option<&str>,
    arguments: &EncoderArguments,
) -> Result<(Database, EncoderSource)> {
    let database = open_database(path, generation, arguments, true)?;
    let remembered = database.encoder_record().and_then(|record| record.source);
    let source = arguments.or(remembered).expect("the command line has --encoder");
    Ok((database, source))
}

/// Opens a database with the encoder of the generation in use, as the database remembers it. Of the arguments only
/// those count that change no vector.
pub fn open_in_use(path: &Path, arguments: &EncoderArguments) -> Result<Database> {
    let database = Database::open(path)?;
    if database.encoder_record().is_none_or(|record| record.source.is_none()) {
        return Ok(database);
    }
    database.reload_encoder(|record| load_remembered(path, record, arguments))
}

/// Loads the encoder of a generation from where the database says that it is. Of the arguments only those count that
/// change no vector.
pub fn load_remembered(
    path: &Path,
    record: &EncoderRecord,
    arguments: &EncoderArguments,
) -> Result<Arc<Encoder>> {
    let path = path.display();
    let advice = format!("say where it is with `secateur generation relocate {path} --encoder MODEL`");
    reload(record, &arguments.passing(), &searched_with(path), &advice)
}

/// Opens a database with the encoders of all its generations, so that documents can be added. The encoder that is given
/// is that of the generation in use.
pub fn open_for_writing(path: &Path, arguments: &EncoderArguments) -> Result<Database> {
    let database = open_database(path, None, arguments, true)?;
    database.with_all_encoders(|name, record| {
        let whose =
            format!("a document gets a vector in every generation, and the encoder of generation {name}");
        let advice =
            "put it back, say where it is with `secateur generation relocate`, or drop the generation";
        reload(record, &arguments.passing(), &whose, advice)
    })
}

/// The model directory that a reference stands for, downloaded or unpacked if need be.
pub fn model_directory(reference: &str) -> Result<PathBuf> {
    if reference == DEFAULT_ENCODER {
        let directory =
            cache()?.join("models").join(format!("{DEFAULT_ENCODER}-{}", default_encoder_version()));
        write_default_encoder(&directory)?;
        return Ok(directory);
    }
    let path = PathBuf::from(reference);
    if path.exists() {
        return Ok(path);
    }
    if !is_hub_name(reference) {
        let message =
            format!("there is no model directory {reference}; give a directory, or OWNER/NAME of the hub");
        return Err(Failure::new(Code::Input, message));
    }
    let config = hub()?;
    let bar = indicatif::ProgressBar::no_length();
    let directory = resolve_model(reference, &config, &Fetcher::default(), &mut |file, progress| {
        bar.set_message(file.to_owned());
        super::progress::show_download(&bar, progress);
    })?;
    bar.finish_and_clear();
    Ok(directory)
}

/// Whether what is no path can be a model of the hub.
pub fn is_hub_name(reference: &str) -> bool {
    // A path that is not there is more likely a slip than a model of the hub. So is a name in a folder that is there.
    // The last three owners do not exist: the hub's own pages have their names.
    let owner = reference.split('/').next().unwrap_or_default();
    let is_path = Path::new(owner).is_dir() || ["models", "datasets", "spaces"].contains(&owner);
    !(reference.starts_with(['.', '/', '~']) || reference.matches('/').count() != 1 || is_path)
}

/// The directory of a model of the hub, if all of it is in the cache.
pub fn cached_model(id: &str) -> Option<PathBuf> {
    let offline = HubConfig { offline: true, ..hub().ok()? };
    resolve_model(id, &offline, &Fetcher::default(), &mut |_, _| ()).ok()
}
