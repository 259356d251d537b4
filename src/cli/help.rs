//! The help of the whole tool: its commands in groups.

use clap::Command;

/// The commands, by what they are for.
const GROUPS: [(&str, &[&str]); 7] = [
    ("To begin", &["demo"]),
    (
        "Databases",
        &["index", "add", "upsert", "delete", "get", "export", "info", "verify", "compact", "shards"],
    ),
    ("Searching", &["search", "tune", "tune-fusion", "rerank", "serve", "mcp"]),
    ("Measuring", &["eval", "eval-run", "compare", "bench", "report"]),
    ("Encoders", &["model", "encode", "generation", "swap", "rollback"]),
    ("Pruning and training", &["prune", "train", "effir"]),
    ("Data sets and training data", &["dataset", "mine", "teach"]),
];

const COMMANDS: &str = "{subcommands}";

/// The same with its commands in groups. Those that a build leaves out are left out.
pub fn grouped(command: Command) -> Command {
    let header = *command.get_styles().get_header();
    let mut text = String::new();
    for (name, commands) in GROUPS {
        let mut group = Command::new(name).disable_help_subcommand(true).help_template(COMMANDS);
        for (place, name) in commands.iter().enumerate() {
            let Some(found) = command.find_subcommand(name) else { continue };
            let mut about = found.get_about().map(ToString::to_string).unwrap_or_default();
            for alias in found.get_visible_aliases() {
                about += &format!(" [alias: {alias}]");
            }
            group = group.subcommand(Command::new(*name).about(about).display_order(place));
        }
        let list = group.render_help().ansi().to_string();
        text += &format!("{header}{name}:{header:#}\n{}\n\n", list.trim_end());
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}{header}Options:{header:#}\n{{options}}{{after-help}}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_command_is_in_one_group() {
        let command = Cli::command();
        let mut there: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        if cfg!(not(feature = "serve")) {
            grouped.retain(|name| !["serve", "mcp"].contains(name));
        }
        there.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(there, grouped);
    }

    #[test]
    fn the_help_has_groups_options_and_examples() {
        let help = grouped(Cli::command()).render_help().to_string();
        for part in [
            "Databases:\n  index ",
            "[alias: create]",
            "\n\nOptions:\n",
            "--threads",
            "Examples:\n",
            "Exit codes:\n",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
        for (heading, _) in GROUPS {
            assert!(help.contains(&format!("\n\n{heading}:\n")), "{heading}: {help}");
        }
    }

    /// Whoever asks for help sees a line to type.
    #[test]
    fn each_help_has_an_example() {
        fn check(command: &Command) {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example"), "{}: {after}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
