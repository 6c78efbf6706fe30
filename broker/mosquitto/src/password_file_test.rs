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
    assert!(entries[0].hash.verify(b"bob") && !entries[0].hash.verify(b"eve"));
    assert!(entries[1].hash.verify(b"correct") && !entries[1].hash.verify(b""));
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
