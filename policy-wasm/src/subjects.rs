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
        for (i, user) in users.iter().enumerate() {
            if let Some(problem) = never_a_user(user) {
                errors.push(SettingsError::new(format!("{path}.users[{i}]"), problem));
            }
        }
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
            } else if let Some(problem) = never_a_group(group) {
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

const ACCOUNT: &str = "system:serviceaccount:";
const ACCOUNTS_OF: &str = "system:serviceaccounts:";

/// Returns why no user has this name: it is a group's, or that of a service account that can't be.
/// `None` where it was refused already.
fn never_a_user(name: &str) -> Option<String> {
    if names::inexact(name).is_some() {
        return None;
    }
    if name == "system:masters" || EVERYBODY.contains(&name) || name.starts_with(ACCOUNTS_OF) {
        return Some(format!(
            "{} is a group, and no user has its name; write it among groups",
            quote(name)
        ));
    }
    let account = name.strip_prefix(ACCOUNT)?;
    let is_account = |(namespace, name): (&str, &str)| is_service_account(namespace, name);
    (!account.split_once(':').is_some_and(is_account)).then(|| {
        format!(
            "{} is no service account; write it among serviceAccounts, as namespace/name",
            quote(name)
        )
    })
}

/// Returns why no group has this name; `None` where it was refused already.
fn never_a_group(name: &str) -> Option<String> {
    if names::inexact(name).is_some() {
        return None;
    }
    if name.starts_with(ACCOUNT) {
        return Some(format!(
            "{} is a user, and no group has its name; write it among serviceAccounts, as \
             namespace/name",
            quote(name)
        ));
    }
    let namespace = name.strip_prefix(ACCOUNTS_OF)?;
    (!names::is_label(namespace)).then(|| {
        format!(
            "{} names no namespace behind its last colon; correct it",
            quote(name)
        )
    })
}

/// Returns the name of the user that a service account is.
fn user_name(account: &str) -> Option<String> {
    let (namespace, name) = account
        .split_once('/')
        .filter(|(namespace, name)| is_service_account(namespace, name))?;
    Some(format!("system:serviceaccount:{namespace}:{name}"))
}

/// Returns true for the names of a namespace and of an object in it.
fn is_service_account(namespace: &str, name: &str) -> bool {
    names::is_label(namespace) && name.len() <= 253 && name.split('.').all(names::is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(users: &[&str], groups: &[&str], accounts: &[&str]) -> Vec<String> {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let mut errors = vec![];
        Subjects::parse(
            "w",
            texts(users),
            texts(groups),
            texts(accounts),
            &mut errors,
        );
        errors.into_iter().map(|error| error.path).collect()
    }

    #[test]
    fn names_that_nobody_can_have_are_refused() {
        let users = [
            "jane",
            "system:kube-scheduler",
            "system:serviceaccount:a:b.c",
        ];
        let groups = ["ops", "system:masters", "system:serviceaccounts:team-a"];
        assert!(paths(&users, &groups, &["a/b", "a/b.c"]).is_empty());
        let users = [
            "system:masters",
            "system:authenticated",
            "system:serviceaccounts:a",
            "system:serviceaccount:a",
            "system:serviceaccount:A:b",
        ];
        assert_eq!(paths(&users, &[], &[]).len(), users.len());
        let groups = ["system:serviceaccount:a:b", "system:serviceaccounts:Bad_NS"];
        assert_eq!(paths(&[], &groups, &[]), ["w.groups[0]", "w.groups[1]"]);
        let accounts = ["a.b/c", "-a/b", "a/-b", "a/b.", "a", "A/b"];
        assert_eq!(paths(&[], &[], &accounts).len(), accounts.len());
    }
}
