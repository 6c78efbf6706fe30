use super::*;

/// Made by `mosquitto_passwd -b passwd bob bob` 2.0.11.
const BOB: &str = "bob:$7$101$DlWyOvsiGlykPezo$BtZGV7GZpfOKqyc5T2OKbE2gycsJkYI9wvq6ZyIg/HRPHKLmeyRZI0PZ0/pYmNrs8npSiRhd8ef/LD/9SUJkjg==";
/// Made by `mosquitto_passwd -H sha512 -b passwd eve correct` 2.0.11.
const EVE: &str = "eve:$6$l0bCE/TmmiQrxEWg$G72BAJU2aZ/zynILHMpzT4sWaEFNx37/KNxYlk5H82fpLY6fMkWLchWPVZgUMVkSyhvSgF1nyi8M8ChyB2UFQA==";

#[test]
fn passwords_that_mosquitto_passwd_hashed_verify() {
    let text = format!("# users\n\n{BOB}\r\n {EVE}:ignored\n");
    let entries = read_password_file("passwd", &text).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.username.as_str()).collect();
    assert_eq!(names, ["bob", "eve"]);
    let verifies = |at: usize, password: &[u8]| match &entries[at].password {
        StoredPassword::Hash(hash) => hash.verify(password),
        StoredPassword::Scram(_) => panic!("{:?}", entries[at]),
    };
    assert!(verifies(0, b"bob") && !verifies(0, b"eve"));
    assert!(verifies(1, b"correct") && !verifies(1, b""));
}

#[test]
fn every_bad_line_is_named_and_no_password_is_shown() {
    let text = format!("bob\nbob:\nbob:hunter2\nbob:$6$AAAA$hunter2\n:x\n{BOB}\n{BOB}\n");
    let faults = read_password_file("passwd", &text).unwrap_err().to_string();
    assert_eq!(
        faults,
        "passwd:1: user \"bob\" has no password; give it one with mosquitto_passwd\n\
         passwd:2: user \"bob\" has no password; give it one with mosquitto_passwd\n\
         passwd:3: the password of user \"bob\" is not hashed; run mosquitto_passwd -U on the file\n\
         passwd:4: user \"bob\": the password hash is malformed: check its hash\n\
         passwd:5: the line has no user name before `:`; write one\n\
         passwd:7: user \"bob\" stands in line 6 already; remove one of the lines"
    );
}

/// Of the user `user` with the password `pencil`, in RFC 7677's example.
const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[test]
fn a_user_has_at_most_one_line_of_each_kind() {
    let text = format!("{BOB}\nbob:{SCRAM}\nuser:{SCRAM}\r\n");
    let entries = read_password_file("passwd", &text).unwrap();
    assert_eq!(entries.len(), 3);
    let StoredPassword::Scram(credential) = &entries[2].password else { panic!() };
    assert!(credential.is_of(b"pencil"));
    let text = format!("bob:{SCRAM}\nbob:{SCRAM}\neve:SCRAM-SHA-256$1:AAAA$x:y\n");
    let faults = read_password_file("passwd", &text).unwrap_err().to_string();
    assert_eq!(
        faults,
        "passwd:2: user \"bob\" stands in line 1 already; remove one of the lines\n\
         passwd:3: user \"eve\": the password hash is malformed: check its iterations, at least 4096"
    );
}
