//! Password, ACL and dynamic-security files -> the records of a policy. Pure.

use std::collections::{BTreeMap, BTreeSet};

use broker_policy::document::import;
use broker_policy::record::DefaultAccess;
use broker_policy::{
    Acl, AclType, Client, Group, PasswordHash, Record, RecordSet, Role, RoleAssignment,
    ScramCredential, Settings,
};

use crate::acl_file::{Access, AclFile, AclRule};
use crate::conf::Position;
use crate::fault::{Fault, Faults};
use crate::password_file::{PasswordEntry, StoredPassword, read_password_file};

/// Role with a user's own `topic` lines; what follows is the user's name.
const OWN_ROLE: &str = "mosquitto:user:";
/// Role with the `topic` lines before the first user.
const ANONYMOUS_ROLE: &str = "mosquitto:anonymous";
/// Role with the `pattern` lines.
const PATTERN_ROLE: &str = "mosquitto:pattern";
/// Role of those whom no ACL file binds.
const EVERYTHING_ROLE: &str = "mosquitto:everything";
/// Group of clients without a user name.
const ANONYMOUS_GROUP: &str = "mosquitto:anonymous";
/// Group of clients whose user name no file knows.
const GUEST_GROUP: &str = "mosquitto:guest";

/// A client's own lines are asked before the patterns.
const OWN_PRIORITY: i32 = 1;
const PATTERN_PRIORITY: i32 = 0;

/// A file with its text.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// How messages name it.
    pub path: &'a str,
    /// What stands in it.
    pub text: &'a str,
}

/// The texts of the files that make a policy, and who may come in.
#[derive(Debug, Clone, Copy, Default)]
pub struct PolicyTexts<'a> {
    /// Users and their passwords.
    pub password_file: Option<Named<'a>>,
    /// Who may do what; without one everybody may do everything.
    pub acl_file: Option<Named<'a>>,
    /// A dynamic-security document, in place of both.
    pub document: Option<Named<'a>>,
    /// Clients without a user name may come in, where the listener lets them.
    pub admits_anonymous: bool,
    /// Clients with a name that no file knows may come in, where the listener asks for no password
    /// or takes the name from a certificate.
    pub admits_guests: bool,
    /// Anonymous clients may do everything, whatever the ACL file says.
    pub trusts_anonymous: bool,
}

/// The records of the policy that the files make.
///
/// # Errors
/// Every line that is wrong; or what the policy can't hold.
pub fn policy_records(texts: &PolicyTexts<'_>) -> Result<Vec<Record>, Faults> {
    let mut faults = Vec::new();
    let mut keep = |more: Faults| faults.extend(more.0);
    let passwords = match texts.password_file {
        None => Vec::new(),
        Some(file) => {
            read_password_file(file.path, file.text).map_err(&mut keep).unwrap_or_default()
        }
    };
    let acl = texts
        .acl_file
        .map(|file| AclFile::read(file.path, file.text).map_err(&mut keep).unwrap_or_default());
    let document = match texts.document {
        None => Vec::new(),
        Some(file) => read_document(file).map_err(&mut keep).unwrap_or_default(),
    };
    Faults(faults).into_result()?;
    if texts.document.is_some() {
        return Ok(with_guests(document, texts));
    }
    let mut builder = Builder { texts, records: Vec::new() };
    builder.roles(acl.as_ref());
    builder.groups(acl.as_ref());
    let passwords = by_user(passwords);
    let listed = acl.as_ref().into_iter().flat_map(|acl| acl.users.keys().cloned());
    let names: BTreeSet<String> = passwords.keys().cloned().chain(listed).collect();
    for username in names {
        let (password, scram) = passwords.get(&username).cloned().unwrap_or_default();
        let has_own = acl.as_ref().is_some_and(|acl| acl.users.contains_key(&username));
        let own = has_own.then(|| format!("{OWN_ROLE}{username}"));
        let roles = builder.assigned(own, acl.is_some());
        let certificate = texts.admits_guests;
        let client = Client { username, password, scram, certificate, roles, ..Client::default() };
        builder.records.push(Record::Client(client));
    }
    let records = builder.records;
    check(texts, &records)?;
    Ok(records)
}

/// What is kept of each user's password.
type Passwords = BTreeMap<String, (Option<PasswordHash>, Option<ScramCredential>)>;

fn by_user(entries: Vec<PasswordEntry>) -> Passwords {
    let mut passwords = Passwords::new();
    for entry in entries {
        let own = passwords.entry(entry.username).or_default();
        match entry.password {
            StoredPassword::Hash(hash) => own.0 = Some(hash),
            StoredPassword::Scram(credential) => own.1 = Some(credential),
        }
    }
    passwords
}

/// What the policy itself has to say: names that are too long, lists that are.
fn check(texts: &PolicyTexts<'_>, records: &[Record]) -> Result<(), Faults> {
    RecordSet::from_records(records.iter().cloned()).map(drop).map_err(|error| {
        let path = texts.acl_file.or(texts.password_file).map_or("", |file| file.path);
        let at = Position { file: path.into(), line: 1 };
        Faults(vec![Fault::Line { at, problem: error.to_string() }])
    })
}

fn read_document(file: Named<'_>) -> Result<Vec<Record>, Faults> {
    let at = || Position { file: file.path.into(), line: 1 };
    let imported = import(file.text)
        .map_err(|error| Faults(vec![Fault::Line { at: at(), problem: error.to_string() }]))?;
    let skipped = imported.skipped.iter().map(|entry| Fault::Line {
        at: at(),
        problem: format!("{}: {}; correct or remove it", entry.entry, entry.reason),
    });
    Faults(skipped.collect()).into_result().map(|()| imported.records)
}

/// Without `allow_anonymous` the document's own group of anonymous clients lets nobody in.
fn with_guests(mut records: Vec<Record>, texts: &PolicyTexts<'_>) -> Vec<Record> {
    for record in &mut records {
        if let Record::Settings(settings) = record
            && !texts.admits_anonymous
        {
            settings.anonymous_group = None;
        }
    }
    records
}

struct Builder<'a> {
    texts: &'a PolicyTexts<'a>,
    records: Vec<Record>,
}

impl Builder<'_> {
    fn roles(&mut self, acl: Option<&AclFile>) {
        if acl.is_none() || self.texts.trusts_anonymous {
            self.records.push(Record::Role(everything()));
        }
        let Some(acl) = acl else { return };
        self.records.push(Record::Role(role(ANONYMOUS_ROLE.to_owned(), &acl.anonymous)));
        self.records.push(Record::Role(role(PATTERN_ROLE.to_owned(), &acl.patterns)));
        for (user, rules) in &acl.users {
            self.records.push(Record::Role(role(format!("{OWN_ROLE}{user}"), rules)));
        }
    }

    fn groups(&mut self, acl: Option<&AclFile>) {
        let binds_anonymous = acl.is_some() && !self.texts.trusts_anonymous;
        let own = binds_anonymous.then(|| ANONYMOUS_ROLE.to_owned());
        let groups = [
            (self.texts.admits_anonymous, ANONYMOUS_GROUP, own, binds_anonymous),
            (self.texts.admits_guests, GUEST_GROUP, None, acl.is_some()),
        ];
        let mut settings = Settings {
            default_access: DefaultAccess {
                publish_client_send: acl.is_none(),
                publish_client_receive: acl.is_none(),
                subscribe: true,
                unsubscribe: true,
            },
            ..Settings::default()
        };
        for (is_admitted, name, own, is_bound) in groups {
            if !is_admitted {
                continue;
            }
            let roles = self.assigned(own, is_bound);
            let group = Group { name: name.to_owned(), roles, ..Group::default() };
            self.records.push(Record::Group(group));
            let place = match name {
                ANONYMOUS_GROUP => &mut settings.anonymous_group,
                _ => &mut settings.guest_group,
            };
            *place = Some(name.to_owned());
        }
        self.records.push(Record::Settings(settings));
    }

    /// The roles of a client: its own lines, then the patterns; or everything.
    fn assigned(&self, own: Option<String>, is_bound: bool) -> Vec<RoleAssignment> {
        if !is_bound {
            return vec![RoleAssignment::with_priority(EVERYTHING_ROLE, OWN_PRIORITY)];
        }
        let own = own.map(|name| RoleAssignment::with_priority(name, OWN_PRIORITY));
        let pattern = RoleAssignment::with_priority(PATTERN_ROLE, PATTERN_PRIORITY);
        own.into_iter().chain([pattern]).collect()
    }
}

fn everything() -> Role {
    let mut role = Role::new(EVERYTHING_ROLE);
    for topic in ["#", "$SYS/#"] {
        for acl_type in [AclType::PublishClientSend, AclType::PublishClientReceive] {
            role.acls.push(Acl { acl_type, topic: topic.to_owned(), priority: 0, allow: true });
        }
    }
    role
}

/// What denies comes first: by its place for equal topics, by its priority for others.
fn role(name: String, rules: &[AclRule]) -> Role {
    let mut role = Role::new(name);
    let denying = rules.iter().filter(|rule| rule.access == Access::Deny);
    let allowing = rules.iter().filter(|rule| rule.access != Access::Deny);
    for rule in denying.chain(allowing) {
        let is_denial = rule.access == Access::Deny;
        let reads = matches!(rule.access, Access::Read | Access::ReadWrite | Access::Deny);
        let writes = matches!(rule.access, Access::Write | Access::ReadWrite | Access::Deny);
        let types = [(writes, AclType::PublishClientSend), (reads, AclType::PublishClientReceive)];
        for (_, acl_type) in types.into_iter().filter(|(is_meant, _)| *is_meant) {
            let (topic, priority) = (rule.topic.clone(), i32::from(is_denial));
            role.acls.push(Acl { acl_type, topic, priority, allow: !is_denial });
        }
    }
    role
}
