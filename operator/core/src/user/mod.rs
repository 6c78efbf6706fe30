//! An `MqttUser`: its credentials and its status. Pure.

pub mod credentials;
pub mod status;

pub use credentials::{PasswordRequest, SecretData, password_secret, x509_secret};
