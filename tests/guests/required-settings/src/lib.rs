//! An ExternalName leads into an allowed domain (X04), of which there is none by default: a
//! manifest must name one.

use sallyport_policy::prelude::*;

policy!(RequiredSettings, "policy.wit");

/// The settings, checked.
pub struct RequiredSettings(Settings);

impl Policy for RequiredSettings {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn defaults() -> Settings {
        Settings {
            allowed_domains: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        if settings.allowed_domains.is_empty() {
            let problem = "empty; name at least one domain, such as example.com";
            return Err(vec![SettingsError::new("allowedDomains", problem)]);
        }
        Ok(Self(settings))
    }

    fn validate(&self, review: &Review) -> Verdict {
        let Some(name) = &review.service.spec.external_name else {
            return Verdict::allow();
        };
        let is_below = |domain: &String| {
            name.strip_suffix(domain.as_str())
                .is_some_and(|host| host.ends_with('.'))
        };
        if self.0.allowed_domains.iter().any(is_below) {
            return Verdict::allow();
        }
        let problem = format!("{} is in no allowed domain", quote(name));
        Verdict::deny(Violation::new("X04", "spec.externalName", problem))
    }
}
