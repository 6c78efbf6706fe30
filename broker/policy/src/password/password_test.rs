use super::*;

/// Made by `mosquitto_passwd` 2.0.
const PBKDF2_2_0: &str = "$7$101$rbPy3H9M8keMFqtT$3Mtp8MrhOqRqrRaLZFyDYRFjYLyx6JGgJD9nGXxtL43t0LpGn2FPxIq6E004kaJxBVhnpUaevzmATaTThO/Yfw==";
/// Of the form that Mosquitto 2.1 makes; computed with Python's `hashlib`.
const PBKDF2_2_1: &str = "$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==$53KiEygVzVVEVUVTe4h79yMtYp0OxxoKFip82vf7OCrEbcm4/E88oGkCyN0NhQ7fLOSBIpiITuELG/0ldDPFMQ==";
/// Made by `mosquitto_passwd -H sha512` 2.0.
const SHA512: &str = "$6$YgzbhQ8hLi4zrRlQ$RPoCSTD/fk+jIpmH3eJ99sBYxJGmDIyIbLYZEj3JYYqYtcX6pyhfJldeCb1AO/V8+2nc/pUrG5pfjOgS9tTy6A==";
/// From the reference implementation's tests: password `password`, salt `somesalt`.
const ARGON2ID: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

#[test]
fn hashes_that_others_made_verify() {
    for (text, password) in [
        (PBKDF2_2_0, "correct horse"),
        (PBKDF2_2_1, "correct horse"),
        (SHA512, "correct horse"),
        (ARGON2ID, "password"),
    ] {
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.verify(password.as_bytes()), "{text}");
        assert!(!hash.verify(b"Correct horse"), "{text}");
        assert!(!hash.verify(b""), "{text}");
    }
}

#[test]
fn a_hash_made_here_is_the_one_mosquitto_makes() {
    let salt: Vec<u8> = (0..64).collect();
    let hash = PasswordHash::pbkdf2_sha512(b"correct horse", &salt, MOSQUITTO_ITERATIONS).unwrap();
    assert_eq!(hash.as_str(), PBKDF2_2_1);
}

#[test]
fn made_hashes_verify_and_are_read_again() {
    let cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 2 };
    for hash in [
        PasswordHash::pbkdf2_sha512(b"p", b"sixteen byte sal", GENERATED_ITERATIONS).unwrap(),
        PasswordHash::argon2id(b"p", b"sixteen byte sal", cost).unwrap(),
    ] {
        let again = PasswordHash::parse(hash.as_str()).unwrap();
        assert!(again.verify(b"p") && !again.verify(b"q"));
    }
}

#[test]
fn cheap_hashes_are_verified_in_place_and_dear_ones_on_a_pool() {
    let salt = b"sixteen byte sal";
    let generated = PasswordHash::pbkdf2_sha512(b"p", salt, GENERATED_ITERATIONS).unwrap();
    assert_eq!(generated.cost(), VerificationCost::Inline);
    assert_eq!(PasswordHash::parse(SHA512).unwrap().cost(), VerificationCost::Inline);
    for text in [PBKDF2_2_0, PBKDF2_2_1, ARGON2ID] {
        assert_eq!(PasswordHash::parse(text).unwrap().cost(), VerificationCost::Pool);
    }
}

#[test]
fn malformed_and_costly_hashes_are_refused() {
    use PasswordError::*;
    let long = format!("$6${}$", "A".repeat(HASH_TEXT_BYTES_MAX));
    for (text, expected) in [
        ("", UnknownForm),
        ("secret", UnknownForm),
        ("$5$a$b", UnknownForm),
        ("$7$101$AAAA", Malformed { part: "number of parts" }),
        ("$7$0$AAAA$AAAA", Malformed { part: "iterations" }),
        ("$7$-1$AAAA$AAAA", Malformed { part: "iterations" }),
        ("$7$2000000$AAAA$AAAA", TooCostly { part: "iterations", max: ITERATIONS_MAX }),
        ("$7$1$AAAA$AAAA", SaltLength { bytes: 3 }),
        ("$7$1$AAAAAAAAAAAAAAAA$AAAA", Malformed { part: "hash" }),
        ("$6$AAAA$!", Malformed { part: "hash" }),
        ("$6$AAAA", Malformed { part: "number of parts" }),
        ("$argon2id$v=16$m=256,t=2,p=1$a$b", Malformed { part: "version or number of parts" }),
        (&ARGON2ID.replace("m=256", "m=999999"), TooCostly { part: "memory (m)", max: 262_144 }),
        (&ARGON2ID.replace("t=2", "t=0"), Malformed { part: "parameters" }),
        (&long, Malformed { part: "length" }),
    ] {
        assert_eq!(PasswordHash::parse(text), Err(expected), "{text}");
    }
    assert_eq!(PasswordHash::pbkdf2_sha512(b"p", b"short", 1), Err(SaltLength { bytes: 5 }));
}

#[test]
fn a_hash_is_not_shown() {
    assert_eq!(format!("{:?}", PasswordHash::parse(SHA512).unwrap()), "PasswordHash(redacted)");
}
