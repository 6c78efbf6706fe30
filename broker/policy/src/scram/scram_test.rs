use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::PasswordError;

const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn pencil() -> ScramCredential {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramCredential::derive(b"pencil", &salt, 4096).unwrap()
}

fn exchange(credential: ScramCredential, last: &str) -> Result<String, ScramError> {
    let (challenge, _) = ClientFirst::read(FIRST).unwrap().challenge(credential, NONCE);
    challenge.finish(last.as_bytes())
}

/// RFC 7677 section 3.
#[test]
fn the_exchange_of_the_specification_is_answered_as_it_stands_there() {
    let first = ClientFirst::read(FIRST).unwrap();
    assert_eq!(first.username(), "user");
    let (challenge, message) = first.challenge(pencil(), NONCE);
    assert_eq!(
        message,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let answer = challenge.finish(FINAL.as_bytes()).unwrap();
    assert_eq!(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn another_password_a_changed_proof_or_a_user_who_is_not_there_is_refused_alike() {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let other = ScramCredential::derive(b"pencils", &salt, 4096).unwrap();
    assert_eq!(exchange(other, FINAL), Err(ScramError::WrongProof));
    let nobody = ScramCredential::nobody(b"secret", "user", ScramCost::default());
    assert_eq!(exchange(nobody, FINAL), Err(ScramError::WrongProof));
    let changed = FINAL.replace("p=d", "p=e");
    assert_eq!(exchange(pencil(), &changed), Err(ScramError::WrongProof));
}

#[test]
fn a_second_message_of_another_exchange_is_refused() {
    for (from, to) in [("c=biws", "c=eSws"), ("k0,", "k1,"), ("r=rOpr", "r=rOps")] {
        let last = FINAL.replace(from, to);
        assert_eq!(exchange(pencil(), &last), Err(ScramError::OtherExchange), "{to}");
    }
    for last in ["", "c=biws", "c=biws,r=x", ",p=", "c=biws,r=x,p=!", "\u{e9}"] {
        assert!(exchange(pencil(), last).is_err(), "{last}");
    }
}

#[test]
fn first_messages_that_can_not_be_served_are_told_apart() {
    let error = |message: &str| ClientFirst::read(message.as_bytes()).unwrap_err();
    assert_eq!(error("p=tls-exporter,,n=user,r=x"), ScramError::ChannelBinding);
    assert_eq!(error("n,a=root,n=user,r=x"), ScramError::OtherIdentity);
    for message in ["", "n", "n,,", "n,,n=user", "n,,n=,r=x", "n,,r=x,n=user", "x,,n=user,r=x"] {
        assert_eq!(error(message), ScramError::Malformed, "{message}");
    }
    for message in ["n,,n=us\0er,r=x", "n,,n=\0realm\0user,r=x"] {
        assert_eq!(error(message), ScramError::Malformed, "a name of a realm");
    }
    for message in ["n,,m=ext,n=user,r=x", "n,,n=us=er,r=x", "n,,n=user=2,r=x", "n,,n=user,r="] {
        assert_eq!(error(message), ScramError::Malformed, "{message}");
    }
    assert_eq!(error(&format!("n,,n={},r=x", "u".repeat(5000))), ScramError::Malformed);
    assert!(ClientFirst::read(&[b'n', b',', b',', 0xFF]).is_err());
}

#[test]
fn a_name_may_hold_commas_and_equals_signs_and_be_said_twice() {
    let first = ClientFirst::read(b"y,a=a=2Cb=3D,n=a=2Cb=3D,r=x,ext=1").unwrap();
    assert_eq!(first.username(), "a,b=");
}

#[test]
fn the_text_of_a_credential_is_postgresqls_and_is_read_back() {
    let credential = pencil();
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(credential.as_str(), text);
    assert_eq!(ScramCredential::parse(text), Ok(credential.clone()));
    assert!(credential.is_of(b"pencil") && !credential.is_of(b"pen"));
    assert_eq!(format!("{credential:?}"), "ScramCredential(redacted)");
    for (from, to) in [("4096", "4095"), ("4096", "9999999"), ("W22Z", "W2!Z"), ("==$", "==")] {
        assert!(ScramCredential::parse(&text.replace(from, to)).is_err(), "{to}");
    }
    assert_eq!(ScramCredential::parse("$7$x"), Err(PasswordError::UnknownForm));
}

#[test]
fn a_user_who_is_not_there_has_one_salt_that_follows_from_the_secret() {
    let cost = ScramCost::default();
    let salt = |secret: &[u8], name| ScramCredential::nobody(secret, name, cost).salt;
    assert_eq!(salt(b"a", "eve"), salt(b"a", "eve"));
    assert_ne!(salt(b"a", "eve"), salt(b"b", "eve"));
    assert_ne!(salt(b"a", "eve"), salt(b"a", "eva"));
}

/// A policy of users with these credentials.
fn policy(credentials: &[ScramCredential]) -> crate::Policy {
    let client = |(number, scram): (usize, &ScramCredential)| {
        crate::Record::Client(crate::Client {
            username: format!("user-{number}"),
            scram: Some(scram.clone()),
            ..crate::Client::default()
        })
    };
    crate::Policy::from_records(credentials.iter().enumerate().map(client)).unwrap()
}

#[test]
fn a_user_who_is_not_there_is_asked_like_most_who_are() {
    let of = |salt: &[u8], iterations| ScramCredential::derive(b"x", salt, iterations).unwrap();
    let (few, most) = (of(&[1; 16], 4_096), of(&[2; 40], 5_000));
    assert_eq!(policy(&[]).scram_cost(), ScramCost { iterations: 4_096, salt_bytes: 16 });
    let mixed = policy(&[few.clone(), most.clone(), most.clone()]);
    let cost = mixed.scram_cost();
    assert_eq!(cost, ScramCost { iterations: 5_000, salt_bytes: 40 });
    assert_eq!(ScramCredential::nobody(b"secret", "eve", cost).cost(), cost);
    // A change of the records is a change of what most of them are.
    let removals = [1, 2].map(|n| crate::RecordKey::client(&format!("user-{n}"))).to_vec();
    let change = mixed.change(vec![], removals).unwrap();
    assert_eq!(mixed.apply(&change).unwrap().scram_cost(), few.cost());
}

/// RFC 4013 section 3, and what else is left of a text.
#[test]
fn names_and_passwords_are_prepared_as_the_examples_of_the_specification_are() {
    for (text, prepared) in [
        ("I\u{AD}X", Some("IX")),
        ("user", Some("user")),
        ("USER", Some("USER")),
        ("\u{AA}", Some("a")),
        ("\u{2168}", Some("IX")),
        ("\u{7}", None),
        ("\u{627}1", None),
        ("a\u{A0}b", Some("a b")),
        ("\u{AD}", None),
        ("", None),
    ] {
        assert_eq!(prepare(text).as_deref(), prepared, "{text:?}");
    }
}

#[test]
fn different_spellings_of_a_password_are_one_and_what_is_prohibited_is_refused() {
    let salt = [7; 16];
    let of = |password: &[u8]| ScramCredential::derive(password, &salt, 4_096);
    assert_eq!(of("I\u{AD}X".as_bytes()), of(b"IX"));
    assert!(of(b"IX").unwrap().is_of("\u{2168}".as_bytes()));
    assert_eq!(of("bell\u{7}".as_bytes()), Err(PasswordError::NotPreparable));
    assert_eq!(of(&[0xFF]), Err(PasswordError::NotPreparable));
}

#[test]
fn different_spellings_of_a_name_are_one_and_what_is_prohibited_is_refused() {
    let first = ClientFirst::read("n,,n=\u{FF30}ump,r=x".as_bytes()).unwrap();
    assert_eq!((first.username(), first.prepared_username()), ("\u{FF30}ump", "Pump"));
    assert!(first.is_of("Pump") && first.is_of("\u{FF30}ump") && !first.is_of("pump"));
    let error = ClientFirst::read(b"n,,n=a\x07,r=x").unwrap_err();
    assert_eq!(error, ScramError::Username);
}
