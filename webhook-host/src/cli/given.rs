//! The flags that were written on the command line, not taken from the environment or a default. A
//! variable that sets a flag for all commands is no mistake of a command that does not use it.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use std::collections::BTreeSet;

/// The names of the flags, such as `webhook_url`. Stands first in the arguments of a command, since
/// the fields after it take their values out of the matches.
#[derive(Debug, Default)]
pub(super) struct GivenFlags(BTreeSet<String>);

impl GivenFlags {
    /// Returns those among some flags that were given, as they are written: `--webhook-url`.
    pub(super) fn among(&self, flags: &[&str]) -> Vec<String> {
        let given = flags.iter().filter(|flag| self.0.contains(**flag));
        given
            .map(|flag| format!("--{}", flag.replace('_', "-")))
            .collect()
    }
}

impl FromArgMatches for GivenFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = matches
            .ids()
            .map(clap::Id::as_str)
            .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        Ok(Self(given.map(str::to_owned).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GivenFlags {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
