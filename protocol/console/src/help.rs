//! `clap`'s help in the person's language: every command and argument gets its text from the Fluent files.
//!
//! The message for the command `terminal sale` is `help-terminal-sale`, for its argument `amount`
//! `help-terminal-sale-amount`, for an argument of every command `help-global-json`; examples stand in the attribute
//! `.examples` of the command's message.

use crate::text::{Args, Texts};
use clap::{Arg, Command};
use std::ffi::OsString;

/// Gives `command` and all its subcommands their texts.
#[must_use]
pub fn localise(command: Command, texts: &Texts) -> Command {
    let name = format!("help-{}", command.get_name());
    let template = format!(
        "{{about-with-newline}}\n{} {{usage}}\n\n{{all-args}}{{after-help}}",
        texts.say("help-usage")
    );
    level(command, &name, &template, texts).subcommand_help_heading(texts.say("help-commands"))
}

fn level(command: Command, name: &str, template: &str, texts: &Texts) -> Command {
    let mut command = command
        .about(texts.say(name))
        .help_template(template.to_owned())
        .next_help_heading(texts.say("help-options"))
        .mut_args(|arg| argument(arg, name, texts));
    if let Some(examples) = texts.attribute(name, "examples", &Args::new()) {
        let indented: String = examples.lines().map(|line| format!("\n  {line}")).collect();
        command = command.after_help(format!("{}{indented}", texts.say("help-examples")));
    }
    let own: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for sub in own {
        let below = format!("{name}-{sub}");
        command = command.mut_subcommand(sub, |found| level(found, &below, template, texts));
    }
    command
}

fn argument(arg: Arg, command: &str, texts: &Texts) -> Arg {
    let scope = if arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version") {
        "help-global"
    } else {
        command
    };
    let heading = if arg.is_positional() { "help-arguments" } else { "help-options" };
    let text = texts.say(&format!("{scope}-{}", arg.get_id().as_str().replace('_', "-")));
    arg.help(text).help_heading(texts.say(heading))
}

/// The messages of `command`'s tree that a language lacks (for tests).
#[must_use]
pub fn missing(command: &Command, texts: &Texts) -> Vec<String> {
    let mut missing = Vec::new();
    collect(command, &format!("help-{}", command.get_name()), texts, &mut missing);
    missing
}

fn collect(command: &Command, name: &str, texts: &Texts, missing: &mut Vec<String>) {
    let mut wanted = vec![name.to_owned()];
    for arg in command.get_arguments() {
        let scope = if arg.is_global_set() || matches!(arg.get_id().as_str(), "help" | "version") {
            "help-global"
        } else {
            name
        };
        wanted.push(format!("{scope}-{}", arg.get_id().as_str().replace('_', "-")));
    }
    missing.extend(wanted.into_iter().filter(|message| texts.say(message) == *message));
    for sub in command.get_subcommands() {
        collect(sub, &format!("{name}-{}", sub.get_name()), texts, missing);
    }
}

/// What `--lang` says among the arguments, before anything else is read: help is already in that language.
#[must_use]
pub fn language_option(args: &[OsString]) -> Option<String> {
    let texts: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let after = texts.windows(2).find_map(|pair| match pair {
        ["--lang", tag] => Some(*tag),
        _ => None,
    });
    after.or_else(|| texts.iter().find_map(|arg| arg.strip_prefix("--lang="))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_option_is_seen_wherever_it_stands() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(language_option(&args(&["terminal", "sale", "5", "--lang", "zh"])).as_deref(), Some("zh"));
        assert_eq!(language_option(&args(&["terminal", "--lang=en", "doctor"])).as_deref(), Some("en"));
        assert_eq!(language_option(&args(&["terminal", "doctor"])), None);
    }
}
