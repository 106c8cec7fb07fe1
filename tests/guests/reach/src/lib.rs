//! Imports a function, `clock`, that is not the log. It proves that the host refuses such a component at load and names the
//! function.

use sallyport_policy::prelude::*;

policy!(Reach, "policy.wit");

/// Asks a clock.
pub struct Reach(Settings);

impl Policy for Reach {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn defaults() -> Settings {
        Settings { ask: true }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        Ok(Self(settings))
    }

    fn validate(&self, _review: &Review) -> Verdict {
        let verdict = Verdict::allow();
        if self.0.ask { verdict.warn(format!("it is {}", settings::clock())) } else { verdict }
    }
}
