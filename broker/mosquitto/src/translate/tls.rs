//! Certificates, keys and trust anchors: of all listeners, or of each. Pure.

use std::path::PathBuf;

use broker_config::{RawListener, RawListenerTls, RawTls};

use super::Translator;
use crate::model::Listener;

impl Translator<'_> {
    /// Whether it has a certificate.
    pub(super) fn is_tls(&mut self, listener: &Listener) -> bool {
        let settings = &listener.settings;
        let (certificate, key) = (settings.get("certfile"), settings.get("keyfile"));
        if let (Some(one), None) | (None, Some(one)) = (certificate, key) {
            self.refuse(&one.at, "TLS", "it needs both certfile and keyfile: give the other too");
        }
        let asks = settings.get("require_certificate").filter(|setting| setting.text == "true");
        let is_tls = certificate.is_some();
        if let Some(setting) = asks {
            let why = "it needs certfile, keyfile and cafile for this listener";
            if !is_tls || settings.get("cafile").is_none() {
                self.refuse(&setting.at, "require_certificate", why);
            }
        }
        for name in ["cafile", "crlfile"] {
            if let (Some(setting), false) = (settings.get(name), is_tls) {
                self.refuse(&setting.at, name, "it needs certfile and keyfile for this listener");
            }
        }
        if let Some(setting) = settings.get("tls_version") {
            match setting.text.as_str() {
                "tlsv1.3" => self.refuse(
                    &setting.at,
                    "tls_version",
                    "TLS 1.2 and 1.3 are served, always: write tlsv1.2",
                ),
                "tlsv1.1" => self.warn(Some(&setting.at), "tls_version: TLS 1.2 is the least here"),
                _ => {}
            }
        }
        is_tls
    }
}

/// The files of one listener. Without `require_certificate` no client is asked for one, so nothing
/// is read that says which are right.
pub(super) fn own_files(listener: &Listener) -> Option<RawListenerTls> {
    let settings = &listener.settings;
    let file = |name: &str| settings.text(name).map(PathBuf::from);
    let asks = settings.bool("require_certificate") == Some(true);
    Some(RawListenerTls {
        server_certificate: file("certfile")?,
        server_key: file("keyfile")?,
        client_ca: file("cafile").filter(|_| asks),
        client_crl: file("crlfile").filter(|_| asks),
    })
}

/// The files of all listeners, where those of each can be the same; they are then no longer the
/// listeners' own.
pub(super) fn shared_files(listeners: &mut [RawListener]) -> Option<RawTls> {
    let own: Vec<&RawListenerTls> = listeners.iter().filter_map(|l| l.tls.as_ref()).collect();
    let first = own.first()?;
    let asking = own.iter().find(|files| files.client_ca.is_some()).unwrap_or(first);
    let trusts_same = |files: &&RawListenerTls| {
        files.client_ca.is_none()
            || (&files.client_ca, &files.client_crl) == (&asking.client_ca, &asking.client_crl)
    };
    let shows_same = |files: &&RawListenerTls| {
        (&files.server_certificate, &files.server_key)
            == (&first.server_certificate, &first.server_key)
    };
    if !own.iter().all(|files| shows_same(files) && trusts_same(files)) {
        return None;
    }
    let shared = RawTls {
        server_certificate: Some(first.server_certificate.clone()),
        server_key: Some(first.server_key.clone()),
        client_ca: asking.client_ca.clone(),
        client_crl: asking.client_crl.clone(),
        ..RawTls::default()
    };
    listeners.iter_mut().for_each(|listener| listener.tls = None);
    Some(shared)
}
