//! Users, groups and service accounts that settings name, compared exactly with who writes.

use crate::review::User;
use crate::{SettingsError, names, quote};

/// Some users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Service accounts among them, by their user name.
    users: Vec<String>,
    groups: Vec<String>,
}

impl Subjects {
    /// Checks the lists `users`, `groups` and `serviceAccounts` of a setting: names as the API
    /// server authenticates them, and service accounts as `namespace/name`.
    ///
    /// ```
    /// use sallyport_policy::Subjects;
    ///
    /// let mut errors = vec![];
    /// Subjects::parse("writers", vec![], vec![], vec!["lb".to_owned()], &mut errors);
    /// assert_eq!(errors[0].path, "writers.serviceAccounts[0]");
    /// ```
    pub fn parse(
        path: &str,
        mut users: Vec<String>,
        groups: Vec<String>,
        service_accounts: Vec<String>,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        names::exact(&format!("{path}.users"), &users, errors);
        let groups = Self::groups(&format!("{path}.groups"), groups, errors).groups;
        for (i, account) in service_accounts.iter().enumerate() {
            match user_name(account) {
                Some(user) => users.push(user),
                None => {
                    let message = format!(
                        "{} is no service account; use namespace/name",
                        quote(account)
                    );
                    errors.push(SettingsError::new(
                        format!("{path}.serviceAccounts[{i}]"),
                        message,
                    ));
                }
            }
        }
        Self { users, groups }
    }

    /// Checks a list of groups. One that holds everybody is refused.
    pub fn groups(path: &str, groups: Vec<String>, errors: &mut Vec<SettingsError>) -> Self {
        names::exact(path, &groups, errors);
        for (i, group) in groups.iter().enumerate() {
            if EVERYBODY.contains(&group.as_str()) {
                let problem = format!(
                    "{} holds everybody, so that nothing is denied; name a smaller group",
                    quote(group)
                );
                errors.push(SettingsError::new(format!("{path}[{i}]"), problem));
            }
        }
        Self {
            users: vec![],
            groups,
        }
    }

    /// Returns true if nobody is named.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Returns true if the user is one of them.
    pub fn include(&self, user: &User) -> bool {
        self.users.contains(&user.name)
            || user.groups.iter().any(|group| self.groups.contains(group))
    }
}

/// Groups of everybody who can log in, or of every Pod.
const EVERYBODY: [&str; 3] = [
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
];

/// Returns the name of the user that a service account is.
fn user_name(account: &str) -> Option<String> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(allowed);
    let (namespace, name) = account
        .split_once('/')
        .filter(|(namespace, name)| is_name(namespace) && is_name(name))?;
    Some(format!("system:serviceaccount:{namespace}:{name}"))
}
