//! Gives every command and argument its help in the reader's language, from the catalogue.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};
use telemetry::text::{Lang, Text, say};

/// Puts the texts of the catalogue into a command and all below it.
///
/// The text of a command is `tianlu.cli.<path>`, its examples `tianlu.cli.<path>.examples`, that of an
/// argument `tianlu.arg.<id>`; an id means the same in every command.
#[must_use]
pub fn localize(command: Command, lang: Lang) -> Command {
    let path = command.get_name().to_owned();
    node(command, &path, lang)
}

fn node(mut command: Command, path: &str, lang: Lang) -> Command {
    let heading = |key: &str| say(key, &[]).show(lang);
    command = command
        .about(say(&format!("tianlu.cli.{path}"), &[]).show(lang))
        .after_help(block(&say(&format!("tianlu.cli.{path}.examples"), &[]), lang))
        .subcommand_help_heading(heading("tianlu.cli.commands"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    for id in ids {
        command = command.mut_arg(&id, |arg| {
            let key =
                if arg.is_positional() { "tianlu.cli.arguments" } else { "tianlu.cli.options" };
            arg.help(help(&id, lang)).help_heading(heading(key))
        });
    }
    let extra = |id: &'static str, short: char, action: ArgAction| {
        let arg = Arg::new(id).short(short).long(id).action(action);
        arg.help(help(id, lang)).help_heading(heading("tianlu.cli.options"))
    };
    command = command.arg(extra("help", 'h', ArgAction::Help));
    if path == "tianlu" {
        command = command.arg(extra("version", 'V', ArgAction::Version));
    }
    let below: Vec<String> =
        command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in below {
        command =
            command.mut_subcommand(&name, |below| node(below, &format!("{path}.{name}"), lang));
    }
    command
}

fn help(id: &str, lang: Lang) -> String {
    say(&format!("tianlu.arg.{id}"), &[]).show(lang)
}

/// Shows a text of several lines; in both languages one below the other where they differ.
fn block(text: &Text, lang: Lang) -> StyledStr {
    let shown = match lang {
        Lang::Zh => text.zh.clone(),
        Lang::En => text.en.clone(),
        Lang::Both if text.zh == text.en => text.en.clone(),
        Lang::Both => format!("{}\n\n{}", text.zh.trim_end(), text.en.trim_end()),
    };
    shown.into()
}
