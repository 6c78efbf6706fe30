//! Reads what a Mosquitto is run with: `mosquitto.conf` and the files beside it.
//!
//! Pure: the caller hands in the texts through a [`Source`]. [`conf::read`] gives the lines of a
//! configuration with those it includes, [`MosquittoConfig`] is what they say, checked line by
//! line, and [`translate`] gives the broker's own configuration with a [`Warning`] for each thing that
//! will not be as it was. Whatever would make the broker less safe when it is ignored is a
//! [`Fault`], with file and line. [`policy_records`] reads the password, ACL and dynamic-security
//! files.
//!
//! Behaviour is that of Mosquitto 2.0.11, as observed; directives are those up to 2.1.

mod acl_file;
pub mod conf;
mod directive;
mod fault;
mod model;
mod password_file;
mod policy;
mod translate;

#[cfg(test)]
mod acl_file_test;
#[cfg(test)]
mod conf_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod password_file_test;

pub use acl_file::{Access, AclFile, AclRule};
pub use conf::{Line, Position, Source};
pub use directive::{DIRECTIVES, Directive, Fate, Scope, Shape, find};
pub use fault::{Fault, Faults};
pub use model::{Bridge, Listener, MosquittoConfig, Plugin, Security, Setting, Settings};
pub use password_file::{PasswordEntry, StoredPassword, read_password_file};
pub use policy::{Named, PolicyTexts, policy_records};
pub use translate::{Options, Translation, Warning, translate};
