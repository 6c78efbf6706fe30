use super::*;
use crate::acl_file::Access;

fn problems(text: &str) -> Vec<String> {
    let faults = AclFile::read("acl", text).unwrap_err();
    faults.0.iter().map(ToString::to_string).collect()
}

#[test]
fn lines_belong_to_anonymous_clients_a_user_or_everybody() {
    let text =
        "# comment\n\ntopic read a b\nuser bob\r\ntopic x\npattern deny %u/#\n \ntopic deny y\n";
    let file = AclFile::read("acl", text).unwrap();
    let rule = |access, topic: &str| AclRule { access, topic: topic.to_owned() };
    assert_eq!(file.anonymous, [rule(Access::Read, "a b")]);
    assert_eq!(file.users["bob"], [rule(Access::ReadWrite, "x"), rule(Access::Deny, "y")]);
    assert_eq!(file.patterns, [rule(Access::Deny, "%u/#")]);
}

#[test]
fn a_user_who_is_named_again_keeps_what_was_said_before() {
    let file = AclFile::read("acl", "user bob\ntopic x\nuser eve\nuser bob\ntopic y\n").unwrap();
    assert_eq!(file.users["bob"].len(), 2);
    assert_eq!(file.users["eve"], []);
}

#[test]
fn no_password_is_shown_when_a_password_file_is_taken_for_it() {
    let expected = "acl:1: the line is none of user, topic and pattern; is this the ACL file?";
    assert_eq!(problems("bob:$7$101$secret$hash\n"), [expected]);
    assert_eq!(problems("bob:secret\n"), [expected]);
}

#[test]
fn every_bad_line_is_named_with_what_to_write() {
    let text = "topic\ntopic foo x\ntopic read a/#/b\nuser\npatern x\ntopic\tread x\n  # no\n\
                pattern read a/x%u/b\ntopic read a/%c\nuser a\u{7}\n";
    assert_eq!(
        problems(text),
        [
            "acl:1: topic has no topic; write one",
            "acl:2: \"foo\" is none of read, write, readwrite and deny; write one before a topic \
             that holds a space",
            "acl:3: topic \"a/#/b\": `#` must stand alone in the last level, as in `a/b/#`",
            "acl:4: user has no name; write one",
            "acl:5: \"patern\" is none of user, topic and pattern, each with one space after it; \
             correct the line, or begin a comment with `#` as its first character",
            "acl:6: \"topic\\tread\" is none of user, topic and pattern, each with one space after \
             it; correct the line, or begin a comment with `#` as its first character",
            "acl:7: \"#\" is none of user, topic and pattern, each with one space after it; \
             correct the line, or begin a comment with `#` as its first character",
            "acl:8: pattern \"a/x%u/b\": %u must be the only text of its level, as in a/%u/b",
            "acl:9: topic \"a/%c\": %c stands for a name in pattern lines only",
            "acl:10: the user name holds a control character; remove it",
        ]
    );
}
