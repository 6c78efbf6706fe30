//! Who may come in at a listener, and which files say what they may do. Pure.

use super::{MosquittoConfig, Plugin, Setting, Settings};

/// What decides over the clients of one listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Names and passwords.
    pub password_file: Option<Setting>,
    /// Who may do what.
    pub acl_file: Option<Setting>,
    /// Names, passwords, and who may do what, in one document.
    pub dynamic_security: Option<Setting>,
    /// Whether a client's name is in its certificate.
    pub by_certificate: bool,
    /// Whether clients without a user name may come in.
    pub anonymous: bool,
}

impl MosquittoConfig {
    /// The security of a listener. Anonymous clients may come in if the configuration says so, or
    /// if it says nothing of them and has no listener.
    pub fn security(&self, listener: usize) -> Security {
        let own = self.listeners.get(listener).map(|listener| &listener.settings);
        let settings = self.security_settings(listener);
        let said = own.and_then(|own| own.bool("listener_allow_anonymous"));
        let anonymous = said.or_else(|| settings.bool("allow_anonymous"));
        let used = || self.plugins.iter().filter(|plugin| plugin.is_used_by(listener));
        let of_plugin = |kind: PluginKind, option: &str| {
            used()
                .find(|plugin| plugin.kind() == Some(kind))
                .and_then(|p| p.option(option))
                .cloned()
        };
        let file = |name: &str| settings.get(name).cloned();
        Security {
            password_file: file("password_file")
                .or_else(|| of_plugin(PluginKind::PasswordFile, "password_file")),
            acl_file: file("acl_file").or_else(|| of_plugin(PluginKind::AclFile, "acl_file")),
            dynamic_security: of_plugin(PluginKind::DynamicSecurity, "config_file"),
            by_certificate: ["use_identity_as_username", "use_subject_as_username"]
                .into_iter()
                .any(|name| own.and_then(|own| own.bool(name)) == Some(true)),
            anonymous: anonymous.unwrap_or(self.is_local),
        }
    }
}

impl MosquittoConfig {
    /// Where what concerns the security of a listener is said: with it, or for all.
    pub fn security_settings(&self, listener: usize) -> &Settings {
        match self.listeners.get(listener) {
            Some(own) if self.per_listener => &own.settings,
            _ => &self.global,
        }
    }
}

/// The plugins that are recognised by the names of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginKind {
    DynamicSecurity,
    PasswordFile,
    AclFile,
}

impl Plugin {
    pub(crate) fn kind(&self) -> Option<PluginKind> {
        match self.file_stem() {
            "mosquitto_dynamic_security" => Some(PluginKind::DynamicSecurity),
            "mosquitto_password_file" => Some(PluginKind::PasswordFile),
            "mosquitto_acl_file" => Some(PluginKind::AclFile),
            _ => None,
        }
    }
}
