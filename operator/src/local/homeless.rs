//! Statuses of users and rules whose cluster does not exist. IO: writes them.

use jiff::Timestamp;
use operator_api::{MqttAcl, MqttUser};
use operator_core::acl::{self, AclStatusInput};
use operator_core::policy::{AclFacts, Enforcement, Problem};
use operator_core::user::status::{self as user_status, UserStatusInput};

use super::manifest::{Identity, ManifestObject};
use super::store::Store;

/// Says of an object that nothing can be done with it; whether that is news.
pub(super) fn write(
    store: &Store,
    identity: &Identity,
    object: &ManifestObject,
    problem: &Problem,
) -> bool {
    let now = Timestamp::now();
    let enforcement =
        Enforcement::Pending { reason: problem.reason.as_str(), message: problem.message.clone() };
    let written = match object {
        ManifestObject::User(user) => {
            let mut object = MqttUser::clone(user);
            let before = store.read::<MqttUser>(identity).and_then(|before| before.status);
            object.status = Some(user_status::build(&UserStatusInput {
                user,
                before: before.as_ref(),
                credentials: Some(problem),
                certificate: None,
                facts: None,
                enforcement: &enforcement,
                now,
            }));
            store.write(identity, &object)
        }
        ManifestObject::Acl(acl) => {
            let mut object = MqttAcl::clone(acl);
            let before = store.read::<MqttAcl>(identity).and_then(|before| before.status);
            let facts = AclFacts { problems: vec![problem.clone()], ..AclFacts::default() };
            let status = acl::status(&AclStatusInput {
                acl,
                before: before.as_ref(),
                facts: Some(&facts),
                enforcement: &enforcement,
                now,
            });
            object.status = Some(status);
            store.write(identity, &object)
        }
        _ => Ok(false),
    };
    written.unwrap_or_else(|error| {
        tracing::error!(%error, object = %identity, "the object's status was not written");
        false
    })
}
