//! What a recipe reads, and whether it is there: that is found before the first hour of work.

use std::path::Path;

use secateur_datasets::Texts;
use secateur_datasets::triples::Examples;

use super::recipe::Recipe;
use super::stage::Stage;
use crate::error::{Error, Result, message_with_causes};
use crate::prune::ModelDirectory;
use crate::train::LossOptions;

/// What a recipe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// The table that names it; `None` for the model that the recipe starts from.
    pub stage: Option<Stage>,
    /// The key in that table.
    pub key: &'static str,
    /// What is expected there.
    pub kind: InputKind,
    /// The path, or what stands for one.
    pub path: &'a Path,
}

/// What an [`Input`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A model directory.
    Model,
    /// Texts: a file, or the folder of a data set.
    Texts,
    /// The folder of a data set.
    Dataset,
    /// A file of training examples.
    Examples,
    /// Another file.
    File,
}

impl Input<'_> {
    /// What is wrong with what is there, as far as a look at its beginning tells.
    pub fn fault(&self) -> Option<String> {
        let path = self.path.display();
        let result: Result<()> = match self.kind {
            InputKind::Examples => {
                match Examples::open(self.path, None).map(|mut examples| examples.next()) {
                    Ok(Some(first)) => first.map(|_| ()).map_err(Error::from),
                    Ok(None) => return Some(format!("{path} has no examples")),
                    Err(error) => Err(error.into()),
                }
            }
            InputKind::File if self.path.is_dir() => {
                return Some(format!("{path} is a folder, and a file is expected"));
            }
            InputKind::Texts => Texts::open(self.path)
                .and_then(|mut texts| texts.next().transpose())
                .map(|_| ())
                .map_err(Error::from),
            // The model that the recipe starts from is opened with its own options.
            InputKind::Model if self.stage.is_some() => {
                ModelDirectory::open(self.path).map(|_| ()).map_err(Error::from)
            }
            InputKind::Model | InputKind::Dataset | InputKind::File => Ok(()),
        };
        result.err().map(|error| message_with_causes(&error))
    }
}

impl Recipe {
    /// What the stages read that are not done in the folder `out`, in their order.
    fn inputs<'r>(&'r self, out: &Path) -> Vec<Input<'r>> {
        let mut inputs =
            vec![Input { stage: None, key: "model", kind: InputKind::Model, path: self.model_directory() }];
        let mut add = |stage: Stage, key, kind, path: &'r Path| {
            if !stage.is_done_in(out) {
                inputs.push(Input { stage: Some(stage), key, kind, path });
            }
        };
        if let Some(score) = &self.score {
            add(Stage::Score, "calibration", InputKind::Texts, &score.calibration);
        }
        if let Some(drop) = &self.drop {
            drop.scores.iter().for_each(|path| add(Stage::Drop, "scores", InputKind::File, path));
            drop.calibration.iter().for_each(|path| add(Stage::Drop, "calibration", InputKind::Texts, path));
        }
        if let Some(slim) = &self.slim {
            slim.train.iter().for_each(|path| add(Stage::Slim, "train", InputKind::Examples, path));
            slim.calibration.iter().for_each(|path| add(Stage::Slim, "calibration", InputKind::Texts, path));
            slim.scores.iter().for_each(|path| add(Stage::Slim, "scores", InputKind::File, path));
            of_loss(Stage::Slim, &slim.loss, &mut add);
        }
        if let Some(train) = &self.train {
            train.data.iter().for_each(|path| add(Stage::Train, "data", InputKind::Examples, path));
            train.dev.iter().for_each(|path| add(Stage::Train, "dev", InputKind::Dataset, path));
            of_loss(Stage::Train, &train.loss, &mut add);
        }
        for path in &self.evaluate.datasets {
            add(Stage::Evaluate, "datasets", InputKind::Dataset, path);
        }
        inputs
    }

    /// Refuses a recipe of which not all inputs are there. `problem` says of an input what is missing or wrong. Those
    /// of stages that are done in the folder `out` are not asked for.
    ///
    /// # Errors
    ///
    /// [`Error::MissingInputs`], with all of them.
    pub fn check_inputs(
        &self,
        out: impl AsRef<Path>,
        mut problem: impl FnMut(&Input<'_>) -> Option<String>,
    ) -> Result<()> {
        let mut lines: Vec<(String, Vec<String>)> = Vec::new();
        for input in self.inputs(out.as_ref()) {
            let Some(problem) = problem(&input) else { continue };
            let key = match input.stage {
                Some(stage) => format!("[{stage}] {}", input.key),
                None => input.key.to_owned(),
            };
            match lines.iter_mut().find(|(other, _)| *other == key) {
                Some((_, problems)) => problems.push(problem),
                None => lines.push((key, vec![problem])),
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let missing = lines.into_iter().map(|(key, problems)| format!("{key}: {}", problems.join(", ")));
        Err(Error::MissingInputs { recipe: self.file.clone(), missing: missing.collect() })
    }
}

/// Adds what a loss reads.
fn of_loss<'r>(
    stage: Stage,
    loss: &'r LossOptions,
    add: &mut impl FnMut(Stage, &'static str, InputKind, &'r Path),
) {
    loss.teacher.iter().for_each(|path| add(stage, "teacher", InputKind::Model, path));
    loss.teacher_vectors.iter().for_each(|path| add(stage, "teacher-vectors", InputKind::File, path));
}

/// The path of an input where nothing is, or what is wrong with what is there.
pub(super) fn problem(input: &Input<'_>) -> Option<String> {
    if input.path.exists() { input.fault() } else { Some(input.path.display().to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "model = \"m\"\n\
        [score]\ncalibration = \"c\"\n\
        [drop]\nmlp = 1\niterative = true\ncalibration = \"d\"\n\
        [slim]\nsparsity = 0.3\ntrain = [\"t1\", \"t2\"]\nteacher = \"T\"\n\
        [train]\ndata = [\"t1\"]\ndev = [\"D\"]\nteacher-vectors = [\"v\"]\n\
        [evaluate]\ndatasets = [\"e1\", \"e2\"]\n";

    fn missing(recipe: &Recipe, out: &Path) -> Vec<String> {
        match recipe.check_inputs(out, problem) {
            Err(Error::MissingInputs { missing, .. }) => missing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_inputs_that_are_missing_are_named() {
        let out = tempfile::tempdir().unwrap();
        let recipe: Recipe = ALL.parse().unwrap();
        let all = [
            "model: m",
            "[score] calibration: c",
            "[drop] calibration: d",
            "[slim] train: t1, t2",
            "[slim] teacher: T",
            "[train] data: t1",
            "[train] dev: D",
            "[train] teacher-vectors: v",
            "[evaluate] datasets: e1, e2",
        ];
        assert_eq!(missing(&recipe, out.path()), all);
        recipe.check_inputs(out.path(), |_| None).unwrap();

        // A run says so, too, and leaves nothing. It measures once.
        let recipe: Recipe = ALL.replace("iterative = true\ncalibration = \"d\"\n", "").parse().unwrap();
        let all = all.into_iter().filter(|line| !line.starts_with("[drop]"));
        let absent = out.path().join("out");
        let message = recipe.run(&absent, &mut |_, _| ()).unwrap_err().to_string();
        assert!({ all }.all(|line| message.contains(line)), "{message}");
        assert!(!absent.exists());
    }

    #[test]
    fn what_is_there_and_is_something_else_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::write(path("list.json"), "[\n  {\"query\": \"q\", \"pos\": [\"p\"]}\n]\n").unwrap();
        std::fs::write(path("empty.jsonl"), "").unwrap();
        std::fs::write(path("sound.jsonl"), "{\"query\": \"q\", \"pos\": [\"p\"]}\n").unwrap();
        std::fs::write(path("texts.jsonl"), "a rose\n").unwrap();
        for (kind, name, part) in [
            (InputKind::Examples, "folder", Some("folder is a folder")),
            (InputKind::Examples, "list.json", Some("list.json:1: ")),
            (InputKind::Examples, "empty.jsonl", Some("empty.jsonl has no examples")),
            (InputKind::Examples, "sound.jsonl", None),
            (InputKind::File, "folder", Some("folder is a folder, and a file is expected")),
            (InputKind::File, "empty.jsonl", None),
            (InputKind::Texts, "texts.jsonl", Some("texts.jsonl:1: ")),
            (InputKind::Model, "folder", Some("config.json")),
        ] {
            let path = path(name);
            let input = Input { stage: Some(Stage::Train), key: "k", kind, path: &path };
            match (problem(&input), part) {
                (Some(problem), Some(part)) => assert!(problem.contains(part), "{problem}"),
                (found, expected) => assert_eq!(found.as_deref(), expected, "{name}"),
            }
        }
    }

    #[test]
    fn stages_that_are_done_need_nothing() {
        let out = tempfile::tempdir().unwrap();
        let recipe: Recipe = ALL.parse().unwrap();
        std::fs::write(out.path().join("scores.json"), "").unwrap();
        std::fs::create_dir_all(out.path().join("masked")).unwrap();
        std::fs::create_dir_all(out.path().join("run/model")).unwrap();
        let left = ["model: m", "[drop] calibration: d", "[evaluate] datasets: e1, e2"];
        assert_eq!(missing(&recipe, out.path()), left);
    }

    #[test]
    fn values_of_every_option_that_names_a_path_are_inputs() {
        // A path that is given to each option of a stage occurs among the inputs.
        let mut recipe = Recipe { model: "path-0".to_owned(), ..Recipe::default() };
        let (score, drop, slim, train) = (
            recipe.score.insert(Default::default()),
            recipe.drop.insert(Default::default()),
            recipe.slim.insert(Default::default()),
            recipe.train.insert(Default::default()),
        );
        score.calibration = "path-1".into();
        drop.scores = Some("path-2".into());
        drop.calibration = Some("path-3".into());
        slim.train = vec!["path-4".into()];
        slim.calibration = Some("path-5".into());
        slim.scores = Some("path-6".into());
        slim.loss.teacher = Some("path-7".into());
        slim.loss.teacher_vectors = vec!["path-8".into()];
        train.data = vec!["path-9".into()];
        train.dev = vec!["path-10".into()];
        train.loss.teacher = Some("path-11".into());
        train.loss.teacher_vectors = vec!["path-12".into()];
        recipe.evaluate.datasets = vec!["path-13".into()];
        let text = missing(&recipe, Path::new("nowhere")).join("\n") + "\n";
        assert!((0..14).all(|number| text.contains(&format!("path-{number}\n"))), "{text}");
    }
}
