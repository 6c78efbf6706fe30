//! Which files decide over the clients: for all listeners, or for each. Pure.

use std::path::PathBuf;

use broker_config::RawPolicy;

use super::Translator;
use crate::model::{MosquittoConfig, Security, Setting};

/// Where the policy comes from.
pub(super) enum Policies {
    /// From the same files for all listeners.
    Same(RawPolicy),
    /// For each listener, in their order.
    Own(Vec<RawPolicy>),
}

impl Translator<'_> {
    pub(super) fn policies(&mut self, config: &MosquittoConfig) -> Policies {
        let mut all: Vec<RawPolicy> = Vec::new();
        for index in 0..config.listeners.len() {
            let security = config.security(index);
            let files = security.password_file.as_ref().or(security.acl_file.as_ref());
            if let (Some(plugin), Some(_)) = (&security.dynamic_security, files) {
                let why = "dynamic security and password or ACL files exclude each other here: keep \
                           one of the two";
                self.refuse(&plugin.at, "plugin_opt_config_file", why);
            }
            all.push(policy(&security));
        }
        match all.iter().all(|policy| *policy == all[0]) {
            true => Policies::Same(all.into_iter().next().unwrap_or_default()),
            false => Policies::Own(all),
        }
    }
}

fn policy(security: &Security) -> RawPolicy {
    let path = |setting: &Option<Setting>| setting.as_ref().map(|file| PathBuf::from(&file.text));
    RawPolicy {
        trust_anonymous: false,
        password_file: path(&security.password_file),
        acl_file: path(&security.acl_file),
        document: path(&security.dynamic_security),
    }
}

impl Security {
    /// Whether some have names that are proven.
    pub(super) fn has_users(&self) -> bool {
        self.password_file.is_some() || self.dynamic_security.is_some() || self.by_certificate
    }
}
