//! Which files decide over the clients. One policy holds for all listeners here, so what Mosquitto
//! keeps apart by listener must agree. Pure.

use std::path::PathBuf;

use broker_config::RawPolicy;

use super::Translator;
use crate::model::{MosquittoConfig, Security, Setting};

impl Translator<'_> {
    pub(super) fn policy(&mut self, config: &MosquittoConfig) -> RawPolicy {
        let all: Vec<Security> =
            (0..config.listeners.len()).map(|index| config.security(index)).collect();
        let password_file = self.one(&all, "password_file", |s| s.password_file.as_ref());
        let acl_file = self.one(&all, "acl_file", |s| s.acl_file.as_ref());
        let document = self.one(&all, "plugin", |s| s.dynamic_security.as_ref());
        for security in &all {
            let files = security.password_file.as_ref().or(security.acl_file.as_ref());
            if let (Some(plugin), Some(_)) = (&security.dynamic_security, files) {
                let why = "dynamic security and password or ACL files exclude each other here: keep \
                           one of the two";
                self.refuse(&plugin.at, "plugin_opt_config_file", why);
            }
        }
        RawPolicy {
            trust_anonymous: self.trusts_anonymous(config, &all),
            password_file,
            acl_file,
            document,
        }
    }

    /// The file that all listeners name that name one.
    fn one(
        &mut self,
        all: &[Security],
        name: &'static str,
        of: impl Fn(&Security) -> Option<&Setting>,
    ) -> Option<PathBuf> {
        let mut settings = all.iter().filter_map(of);
        let first = settings.next()?;
        if let Some(other) = settings.find(|other| other.text != first.text) {
            let why = format!(
                "one file holds for all listeners here, and {} names another: put the two together",
                first.at
            );
            self.refuse(&other.at, name, why);
        }
        Some(PathBuf::from(&first.text))
    }

    /// Whether anonymous clients may do everything although there is an ACL file: where it is for
    /// other listeners than theirs.
    fn trusts_anonymous(&mut self, config: &MosquittoConfig, all: &[Security]) -> bool {
        let Some(acl) = all.iter().find_map(|security| security.acl_file.clone()) else {
            return false;
        };
        let free = |security: &Security| security.acl_file.is_none() && !security.is_closed();
        let pairs = all.iter().zip(&config.listeners);
        let Some((_, listener)) = pairs.clone().find(|(security, _)| free(security)) else {
            return false;
        };
        let place = listener.at.clone().unwrap_or_else(|| acl.at.clone());
        if all.iter().any(|security| free(security) && security.has_users()) {
            let why = "an ACL file binds all users here: name it for every listener that has a \
                       password_file or use_identity_as_username";
            self.refuse(&place, "listener", why);
        } else if all.iter().any(Security::binds_anonymous) {
            let why = "clients without a user name have the same rights at every listener here: \
                       name the acl_file for this one too";
            self.refuse(&place, "listener", why);
        }
        true
    }
}

impl Security {
    fn binds_anonymous(&self) -> bool {
        self.acl_file.is_some() && self.anonymous && !self.by_certificate
    }

    /// Whether nobody can come in.
    pub(super) fn is_closed(&self) -> bool {
        !self.has_users() && !self.anonymous
    }

    /// Whether some have names that are proven.
    pub(super) fn has_users(&self) -> bool {
        self.password_file.is_some() || self.dynamic_security.is_some() || self.by_certificate
    }
}
