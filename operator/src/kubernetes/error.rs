//! Why a step of a controller failed. Pure.

use operator_pki::PkiError;

/// Why a step of a controller failed; the object is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what it was asked.
    #[error("could not {action} {kind} {namespace}/{name}")]
    Kubernetes {
        /// What it was asked, as `apply` or `delete`.
        action: &'static str,
        /// The kind of the object.
        kind: String,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// An object of a name that is needed belongs to somebody else.
    #[error(
        "{kind} {namespace}/{name} is there already and was not made for this object: rename or \
         delete it"
    )]
    NameTaken {
        /// The kind of the object.
        kind: String,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// A certificate can't be read or issued.
    #[error("Secret {secret} holds no certificate that can be used")]
    Certificate {
        /// The Secret with it.
        secret: String,
        /// Why.
        source: PkiError,
    },
    /// The authority that was brought along is gone.
    #[error(
        "the Secret {secret} of tls.authority.secretName is not there: create it again; until then \
         no certificate is issued"
    )]
    AuthorityMissing {
        /// The Secret.
        secret: String,
    },
    /// The brokers' configuration can't be rendered, although validation passed.
    #[error("configuration of {cluster}: {problem}")]
    Configuration {
        /// The cluster.
        cluster: String,
        /// Why.
        problem: String,
    },
    /// An object has no namespace, which can't be.
    #[error("{kind} {name} has no namespace")]
    NoNamespace {
        /// The kind of the object.
        kind: String,
        /// The object's name.
        name: String,
    },
    /// A cluster has no certificates to talk to its brokers with.
    #[error("there are no certificates to talk to the brokers of {cluster} with")]
    NotPrepared {
        /// The cluster.
        cluster: String,
    },
    /// The operator's certificate for a cluster's admin API can't be used.
    #[error("certificate for the admin API of {cluster}: {problem}")]
    AdminIdentity {
        /// The cluster.
        cluster: String,
        /// Why.
        problem: String,
    },
}

impl Error {
    /// The kind of failure as metrics and Events name it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } => "KubernetesError",
            Self::NameTaken { .. } => "NameTaken",
            Self::Certificate { .. } => "CertificateError",
            Self::AuthorityMissing { .. } => "SecretMissing",
            Self::Configuration { .. } => "InvalidConfiguration",
            Self::NoNamespace { .. } => "NoNamespace",
            Self::NotPrepared { .. } => "NotPrepared",
            Self::AdminIdentity { .. } => "AdminIdentityError",
        }
    }

    /// Whether the API server has to be asked again, rather than an object to change.
    #[must_use]
    pub(super) fn is_tried_again(&self) -> bool {
        matches!(self, Self::Kubernetes { .. } | Self::NameTaken { .. })
    }

    /// The message with those of its sources, for people.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::error_chain::chain(self)
    }
}

/// Names the object in an error of the API server.
pub(super) fn kubernetes<K: kube::Resource>(
    action: &'static str,
    namespace: &str,
    name: &str,
) -> impl FnOnce(kube::Error) -> Error
where
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    move |source| Error::Kubernetes { action, kind, namespace, name, source: Box::new(source) }
}
